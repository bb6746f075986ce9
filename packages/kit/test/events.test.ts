/** Security events, principals and phases: what plugins share on one app. */
import {
  createEventFold,
  createManualClock,
  createMemoryStore,
  declarePhase,
  kitEvents,
  parsePrincipal,
  phases,
  usePrincipal,
  useSecurityEvents,
  useStoreEvents,
  type SecurityEvent,
  type Store,
} from '@parapet/kit'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { SecurityEventBus } from '../src/http/security-events.ts'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'example.happened': { n: number }
    'example.refused': { reason: string }
  }
}

const table = {
  'example.happened': { severity: 'info', outcome: 'success', description: 'It happened' },
  'example.refused': { severity: 'medium', outcome: 'failure', description: 'It was refused' },
} as const

function build(t: Test): { app: FastifyInstance; logged: Record<string, unknown>[] } {
  const logged: Record<string, unknown>[] = []
  const stream = { write: (line: string) => logged.push(JSON.parse(line) as never) }
  const app = Fastify({ logger: { level: 'error', stream } })
  t.after(() => app.close())
  return { app, logged }
}

/** A bus without an app, with a manual clock, and its log. */
function bus() {
  const clock = createManualClock()
  const logged: { fields: object; message: string }[] = []
  const log = { error: (fields: object, message: string) => void logged.push({ fields, message }) }
  const events = new SecurityEventBus(log, clock.now)
  events.declare(table)
  return { events, clock, logged }
}

await t.test(
  'an event reaches the listeners of its type and of all types, in order of registration',
  (t) => {
    const { events, clock } = bus()
    const heard: string[] = []
    events.on('*', ({ type }) => void heard.push(`all ${type}`))
    events.on('example.happened', ({ details }) => void heard.push(`n ${details.n + 1}`))
    const off = events.on('*', () => void heard.push('gone'))
    off()
    off()
    const seen: SecurityEvent[] = []
    events.on('*', (event) => void seen.push(event))
    events.emit('example.happened', { details: { n: 1 } })
    events.emit('example.refused', { details: { reason: 'x' }, severity: 'high', ip: '192.0.2.1' })
    t.strictSame(heard, ['all example.happened', 'n 2', 'all example.refused'])
    t.match(seen[0], {
      id: /^[0-9a-f]{8}-[0-9a-f]{4}-7/,
      time: clock.now(),
      type: 'example.happened',
      severity: 'info',
      outcome: 'success',
      details: { n: 1 },
    })
    t.match(seen[1], { severity: 'high', outcome: 'failure', ip: '192.0.2.1' })
    t.ok(Object.isFrozen(seen[0]) && Object.isFrozen(seen[0]!.details))
    t.end()
  },
)

await t.test('an event is flat, and its stamp cannot be replaced', (t) => {
  const { events, clock, logged } = bus()
  const seen: SecurityEvent[] = []
  const list = ['a']
  events.on('*', ({ details }) => {
    t.throws(() => (details as unknown as { list: string[] }).list.push('b'), TypeError)
  })
  events.on('*', (event) => void seen.push(event))
  const forged = { id: 'forged', time: 1, type: 'example.refused', anything: { nested: 1 } }
  const details = { n: 1, list, nested: { a: 1 }, at: new Date(0), big: 1n, inf: Infinity }
  for (let n = 0; n < 2; n++) {
    events.emit('example.happened', { ...forged, ip: '192.0.2.1', details })
  }
  list.push('later')
  t.equal(logged.length, 4, 'one line for each member that was left out')
  const [event] = seen
  t.not(event!.id, 'forged')
  t.strictSame(
    { ...event, id: '' },
    {
      id: '',
      time: clock.now(),
      type: 'example.happened',
      severity: 'info',
      outcome: 'success',
      ip: '192.0.2.1',
      details: { n: 1, list: ['a'] },
    },
  )
  t.end()
})

await t.test('an error of a listener is logged and contained', async (t) => {
  const { events, logged } = bus()
  let reached = 0
  events.on('*', () => {
    throw new Error('thrown')
  })
  events.on('*', async () => Promise.reject(new Error('rejected')))
  events.on('*', () => ++reached)
  events.emit('example.happened', { details: { n: 1 } })
  await new Promise(setImmediate)
  t.equal(reached, 1)
  t.match(
    logged.map(({ fields }) => fields),
    [{ err: { message: 'thrown' }, type: 'example.happened' }, { err: { message: 'rejected' } }],
  )
})

await t.test('an event emitted by a listener is delivered after the one it received', (t) => {
  const { events } = bus()
  const heard: string[] = []
  events.on('example.happened', ({ details }) => {
    heard.push(`first ${details.n}`)
    if (details.n === 1) events.emit('example.happened', { details: { n: 2 } })
  })
  events.on('example.happened', ({ details }) => void heard.push(`second ${details.n}`))
  events.emit('example.happened', { details: { n: 1 } })
  t.strictSame(heard, ['first 1', 'second 1', 'first 2', 'second 2'])
  t.end()
})

await t.test('listeners that emit two events for each event are stopped', (t) => {
  const { events, logged } = bus()
  let heard = 0
  events.on('example.happened', () => {
    heard++
    events.emit('example.happened', { details: { n: 1 } })
    events.emit('example.happened', { details: { n: 2 } })
  })
  events.emit('example.happened', { details: { n: 0 } })
  t.equal(heard, 10_000)
  t.match(logged[0], { message: /^security event dropped/ })
  heard = 0
  t.end()
})

await t.test('an undeclared type is logged and does not fail the request', (t) => {
  const { events, logged } = bus()
  events.on('*', () => void t.fail('nobody hears it'))
  events.emit('example.unknown' as 'example.happened', { details: { n: 1 } })
  t.match(logged, [{ message: 'security event could not be built' }])
  t.end()
})

await t.test('all contexts of an app share one bus, in any order of use', async (t) => {
  const { app } = build(t)
  let child: unknown
  let sibling: unknown
  await app.register(async (scope) => {
    child = useSecurityEvents(scope, { 'example.happened': table['example.happened'] })
    t.equal(scope.securityEvents, child)
  })
  await app.register(async (scope) => {
    sibling = useSecurityEvents(scope)
  })
  t.equal(useSecurityEvents(app), child)
  t.equal(sibling, child)
  t.equal(app.securityEvents, child)
  t.strictSame([...app.securityEvents.declarations.keys()], ['example.happened'])
  t.not(useSecurityEvents(build(t).app), child, 'another server has another bus')
})

await t.test('an event of a request has its source, and never the URL', async (t) => {
  const { app } = build(t)
  const seen: SecurityEvent[] = []
  const events = useSecurityEvents(app, table)
  events.on('*', (event) => void seen.push(event))
  const principalOf = usePrincipal(app, () => ({ id: 'u1', roles: ['editor'], sessionId: 's1' }))
  app.get('/users/:id', async (request) => {
    principalOf(request)
    events.emit('example.happened', { details: { n: 1 }, resourceId: 'r1' }, request)
    return {}
  })
  app.setNotFoundHandler(async (request, reply) => {
    events.emit('example.refused', { details: { reason: 'nothing there' } }, request)
    return reply.code(404).send({})
  })
  const headers = { 'user-agent': 'x'.repeat(600) }
  await app.inject({ url: '/users/7?token=secret', headers })
  t.match(seen[0], {
    principalId: 'u1',
    sessionId: 's1',
    ip: '127.0.0.1',
    userAgent: 'x'.repeat(512),
    requestId: /.+/,
    route: 'GET /users/:id',
    resourceId: 'r1',
  })
  t.equal(seen[0]!.userAgent!.length, 512)
  await app.inject({ url: '/nothing?token=secret', headers: { 'user-agent': undefined } })
  t.equal(seen[1]!.route, undefined)
  t.notMatch(JSON.stringify(seen), /secret/)
})

await t.test('the health of a store is emitted as events', async (t) => {
  const { app } = build(t)
  const clock = createManualClock()
  let tell!: (state: Store['state']) => void
  let stopped = false
  const store = {
    ...createMemoryStore(),
    onStateChange: (listener: typeof tell) => {
      tell = listener
      return () => (stopped = true)
    },
  } as Store
  useStoreEvents(app, store, { clock })
  const seen: string[] = []
  app.securityEvents.on(
    '*',
    ({ type, details }) => void seen.push(`${type} ${JSON.stringify(details)}`),
  )
  tell('open')
  clock.advance(1500)
  tell('half-open')
  tell('open')
  tell('half-open')
  tell('closed')
  tell('closed')
  await app.close()
  t.equal(stopped, true)
  t.strictSame(seen, [
    'kit.store_lost {"reason":"the circuit breaker opened"}',
    'kit.store_recovered {"downMs":1500}',
  ])
  t.strictSame(Object.keys(kitEvents), [
    'kit.store_lost',
    'kit.store_recovered',
    'kit.store_unsafe',
  ])
})

await t.test('members of a polluted prototype are not part of a principal', (t) => {
  const polluted = Object.prototype as unknown as Record<string, unknown>
  t.after(() => delete polluted['permissions'])
  polluted['permissions'] = ['everything']
  class Account {
    readonly id = 'u1'
    get roles() {
      return ['editor']
    }
  }
  t.strictSame(Object.entries(parsePrincipal(new Account())), [
    ['id', 'u1'],
    ['roles', ['editor']],
  ])
  t.end()
})

await t.test('a principal is checked, copied and frozen', (t) => {
  const source = {
    id: 'u1',
    roles: ['editor'],
    permissions: ['a:b'],
    tenantId: 't1',
    sessionId: 's1',
    actorId: 'op',
    authenticatedAt: 5,
    amr: ['pwd'],
    password: 'never copied',
  }
  const principal = parsePrincipal(source)
  source.roles.push('admin')
  t.strictSame(principal, {
    id: 'u1',
    tenantId: 't1',
    sessionId: 's1',
    actorId: 'op',
    roles: ['editor'],
    permissions: ['a:b'],
    amr: ['pwd'],
    authenticatedAt: 5,
  })
  t.ok(Object.isFrozen(principal) && Object.isFrozen(principal.roles))
  const refused = { code: 'PARAPET_KIT_INVALID_PRINCIPAL', statusCode: 500 }
  const bad: unknown[] = [
    undefined,
    'u1',
    {},
    { id: '', roles: [] },
    { id: 7, roles: [] },
    { id: 'u1' },
    { id: 'u1', roles: 'editor admin' },
    { id: 'u1', roles: [''] },
    { id: 'u1', roles: [], permissions: 'all' },
    { id: 'u1', roles: [], tenantId: '' },
    { id: 'u1', roles: [], authenticatedAt: '2026' },
    { id: 'u1', roles: [], amr: [1] },
    { id: ' ', roles: [] },
    { id: 'u1\n', roles: [] },
    { id: 'u\ud800', roles: [] },
    { id: 'u1', roles: ['a\u0000'] },
    // eslint-disable-next-line no-sparse-arrays -- what a wrong join makes
    { id: 'u1', roles: [, 'a'] },
    { id: 'u1', roles: [], scope: ['read'] },
    { id: 'u1', roles: [], scopes: undefined },
    { id: 'u1', roles: [], tenant: 't1' },
    { id: 'u1', roles: [], tenant_id: 't1' },
  ]
  for (const value of bad) t.throws(() => parsePrincipal(value), refused, JSON.stringify(value))
  t.throws(() => parsePrincipal({ id: 'u1', roles: [], scope: 'read' }), {
    message: /did you mean "scopes"/,
  })
  t.equal(parsePrincipal(principal), principal, 'a checked principal is not checked again')
  t.end()
})

await t.test('what a login sets as the principal is checked, copied and frozen', async (t) => {
  const { app } = build(t)
  const read = usePrincipal(app)
  const given: unknown[] = [
    { id: 'u1', roles: 'no-admin' },
    { id: 5, roles: ['admin'] },
    { id: 'u1', roles: ['editor'] },
  ]
  let next = 0
  let handled = 0
  app.addHook('onRequest', async (request) => {
    request.principal = given[next++] as never
    read(request)
  })
  app.get('/', async (request) => {
    handled++
    return { frozen: Object.isFrozen(request.principal), same: read(request) === request.principal }
  })
  for (let n = 0; n < 2; n++) {
    const refused = await app.inject('/')
    t.match(refused.json(), { statusCode: 500, code: 'PARAPET_KIT_INVALID_PRINCIPAL' })
  }
  t.equal(handled, 0)
  t.strictSame((await app.inject('/')).json(), { frozen: true, same: true })
})

await t.test('an anonymous principal is null, and a login of the app is mapped once', async (t) => {
  const { app } = build(t)
  let mapped = 0
  const plain = usePrincipal(app)
  const withMapping = usePrincipal(app, (request) => {
    mapped++
    return request.headers.authorization === undefined ? null : { id: 'u1', roles: [] }
  })
  app.get('/', async (request) => {
    const before = plain(request)
    const first = withMapping(request)
    return { before, same: first === withMapping(request) && first === plain(request), first }
  })
  t.strictSame((await app.inject('/')).json(), { before: null, same: true, first: null })
  t.equal(mapped, 2, 'nobody is asked again: a later hook may do the login')
  const headers = { authorization: 'x' }
  t.match((await app.inject({ url: '/', headers })).json(), { same: true, first: { id: 'u1' } })
  t.equal(mapped, 3)
})

await t.test(
  'in a context that was created before the decorator, only a mapping finds the caller',
  async (t) => {
    const { app } = build(t)
    let read!: ReturnType<typeof usePrincipal>
    let mapped!: ReturnType<typeof usePrincipal>
    await app.register(async (older) => {
      older.get('/', async (request) => ({
        read: read(request) === null,
        mapped: mapped(request) === null,
      }))
    })
    read = usePrincipal(app)
    mapped = usePrincipal(app, () => ({ id: 'u1', roles: [] }))
    t.match((await app.inject('/')).json(), { read: true, mapped: false })
  },
)

await t.test(
  'plugins register in the order of phases, in any order within one phase',
  async (t) => {
    const { app } = build(t)
    for (const phase of phases) declarePhase(app, `@parapet/${phase}`, phase)
    declarePhase(app, '@example/reaction-too', 'reaction')
    await app.ready()
    t.pass('it boots')
  },
)

await t.test('a wrong order stops the boot and shows the right one', async (t) => {
  const { app } = build(t)
  declarePhase(app, '@parapet/security-headers', 'headers')
  declarePhase(app, '@parapet/rbac', 'authorization')
  const wrong = t.throws(() => declarePhase(app, '@parapet/rate-limits', 'peer-limits'), {
    code: 'PARAPET_KIT_WRONG_ORDER',
    statusCode: 500,
  }) as Error
  t.equal(
    wrong.message,
    `Wrong order of plugins: @parapet/rate-limits (phase "peer-limits") must be registered before @parapet/rbac (phase "authorization"). Register in this order:
  await app.register(securityHeaders) // headers
  await app.register(rateLimits) // peer-limits
  await app.register(rbac) // authorization
If a loader such as @fastify/autoload chooses the order, wrap the later plugin by fastify-plugin with "dependencies": [the "name" of the earlier one].`,
  )
  t.throws(() => declarePhase(app, 'x', 'first' as never), { code: 'PARAPET_KIT_INVALID_ARGUMENT' })
})

await t.test(
  'a child context inherits the phases of its parents, not of its siblings',
  async (t) => {
    const { app } = build(t)
    declarePhase(app, '@parapet/sessions', 'authentication')
    await app.register(async (child) => {
      declarePhase(child, '@parapet/mfa', 'step-up')
      t.throws(() => declarePhase(child, '@parapet/audit-log', 'record'), {
        code: 'PARAPET_KIT_WRONG_ORDER',
      })
    })
    await app.register(async (sibling) => declarePhase(sibling, '@parapet/rbac', 'authorization'))
    t.pass('the sibling does not stand behind step-up')
  },
)

await t.test('repetitions of a key are counted until its window ends', async (t) => {
  const clock = createManualClock(0)
  const fold = createEventFold({ windowMs: 1000, maxKeys: 10, whenFull: 'suppress' }, clock)
  t.same([fold('a'), fold('a'), fold('b'), fold('a')], [0, null, 0, null])
  clock.advance(1000)
  t.same([fold('a'), fold('b'), fold('a')], [2, 0, null])
})

await t.test('many keys cause no more events than the limit, and no count is lost', async (t) => {
  const clock = createManualClock(0)
  const fold = createEventFold({ windowMs: 1000, maxKeys: 100, whenFull: 'suppress' }, clock)
  let emitted = 0
  let counted = 0
  for (let index = 0; index < 10_000; index++) {
    const suppressed = fold(`key ${index}`)
    if (suppressed !== null) {
      emitted++
      counted += 1 + suppressed
    }
  }
  t.equal(emitted, 100)
  clock.advance(1000)
  counted += 1 + (fold('the next') ?? 0)
  t.equal(counted, 10_001)
})

await t.test('with evict, a new key is never suppressed', async (t) => {
  const fold = createEventFold(
    { windowMs: 1000, maxKeys: 2, whenFull: 'evict' },
    createManualClock(0),
  )
  t.same([fold('a'), fold('b'), fold('b'), fold('c'), fold('d')], [0, 0, null, 0, 1])
})

await t.test('a clock that was set back suppresses nothing', async (t) => {
  const time = { now: 10_000 }
  const fold = createEventFold(
    { windowMs: 1000, maxKeys: 2, whenFull: 'suppress' },
    { now: () => time.now },
  )
  t.equal(fold('a'), 0)
  time.now = 5000
  t.equal(fold('a'), 0)
  t.equal(fold('a'), null)
})
