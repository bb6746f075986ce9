/** Routes: who is allowed, who is refused, and what `request.rbac` returns in a handler. */
import { createManualClock, problemErrorHandler } from '@parapet/kit'
import { definePolicy, eq, or, rbac } from '@parapet/rbac'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { EventFold } from '../src/decide/event-fold.ts'
import { as, build, policy, principal, records, resource } from './content-app.ts'
import { allows, createSignal, recordHandlers, refuses } from './refusals.ts'

const either = (headers = {}) => ({ url: '/either', headers })
const settings = (headers = {}) => ({ url: '/settings', headers })
const write = (id: string, headers = {}) => ({
  method: 'PUT' as const,
  url: `/content/${id}`,
  headers,
})
const remove = (id: string, headers = {}) => ({
  method: 'DELETE' as const,
  url: `/content/${id}`,
  headers,
})

await t.test('a route allows principals that have its permission and denies others', async (t) => {
  const built = await build(t)
  await allows(t, built, settings(as('root', 'admin')))
  t.same(built.handled, ['GET /settings'])
  await refuses(t, built, 403, settings(as('ann', 'editor', 'unknown-role')))
  await refuses(t, built, 403, settings(as('ann')))
})

await t.test('a request without a principal gets 401 with WWW-Authenticate', async (t) => {
  for (const handler of [undefined, problemErrorHandler]) {
    const built = await build(t, { challenge: 'Bearer realm="content"' })
    if (handler !== undefined) built.app.setErrorHandler(handler)
    const anonymous = await refuses(t, built, 401, settings())
    t.equal(anonymous.headers['www-authenticate'], 'Bearer realm="content"')
    const known = await refuses(t, built, 403, settings(as('ann', 'viewer')))
    t.equal(known.headers['www-authenticate'], undefined)
  }
})

await t.test(
  'public routes allow every caller, authenticated routes every principal',
  async (t) => {
    const built = await build(t)
    await allows(t, built, { url: '/health' })
    await refuses(t, built, 401, { url: '/me' })
    await allows(t, built, { url: '/me', headers: as('ann') })
  },
)

await t.test('any and all combine permissions', async (t) => {
  const built = await build(t)
  await allows(t, built, either(as('root', 'admin')))
  await allows(t, built, either(as('eve', 'editor')))
  await refuses(t, built, 403, either(as('ann', 'author')), 'content:write needs a resource')
  await refuses(t, built, 403, either(as('ann', 'viewer')))
})

await t.test('conditions read the resource that the rule loads', async (t) => {
  const built = await build(t)
  await allows(t, built, write('draft', as('ann', 'author')))
  await refuses(t, built, 403, write('draft', as('bob', 'author')))
  await refuses(t, built, 403, write('none', as('ann', 'author')), 'the resource does not exist')
  await allows(t, built, remove('live', as('eve', 'editor')))
  await refuses(t, built, 403, remove('held', as('root', 'admin')), 'a deny rule applies')
})

const withoutPath = (body: string) => body.replaceAll(/\/(content|nowhere)\/\w+/g, '')

await t.test('hideAs gives a refusal the reply of an unknown path', async (t) => {
  const built = await build(t)
  const { app, handled } = built
  const ask = async (url: string) => app.inject({ url, headers: as('vic', 'viewer') })
  const [hidden, missing, unrouted] = [
    await ask('/content/draft'),
    await ask('/content/none'),
    await ask('/nowhere/x'),
  ]
  for (const reply of [hidden, missing, unrouted]) {
    t.equal(reply.statusCode, 404)
    t.notOk('code' in reply.json<object>(), 'the reply has no code of the plugin')
  }
  t.equal(withoutPath(hidden.body), withoutPath(missing.body))
  t.equal(withoutPath(hidden.body), withoutPath(unrouted.body))
  t.same(Object.keys(hidden.headers), Object.keys(unrouted.headers))
  const early = await app.inject({ url: '/content/live', headers: as('no-role') })
  t.equal(early.statusCode, 404, 'also if roles alone refuse it')
  t.equal(withoutPath(early.body), withoutPath(unrouted.body))
  t.same(handled, [], 'no handler runs')
  await allows(t, built, { url: '/content/live', headers: as('vic', 'viewer') })
  await refuses(t, built, 401, { url: '/content/live' }, 'authentication comes first')
})

await t.test('hideAs does not tell a foreign resource from one that does not exist', async (t) => {
  const { app } = await build(t)
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ gone: true }))
  const missing: Record<string, () => unknown> = {
    foreign: () => ({ ownerId: 'bob' }),
    null: () => null,
    undefined: () => undefined,
    async: async () => {
      throw Object.assign(new Error('no such doc'), { statusCode: 404 })
    },
    sync: () => {
      throw Object.assign(new Error('no such doc'), { status: 404 })
    },
  }
  const handled: string[] = []
  const load = ({ params }: { params: unknown }) => missing[(params as { id: string }).id]!()
  const rule = { permission: 'content:write', resource: load, hideAs: 404 } as const
  app.get('/hidden/:id', { config: { rbac: rule } }, async () => void handled.push('hidden'))
  const unknown = await app.inject({ url: '/no/such/path', headers: as('ann', 'author') })
  for (const id of Object.keys(missing)) {
    const reply = await app.inject({ url: `/hidden/${id}`, headers: as('ann', 'author') })
    t.equal(reply.statusCode, 404, id)
    t.equal(reply.body, unknown.body, id)
    t.same(Object.keys(reply.headers), Object.keys(unknown.headers), id)
  }
  t.same(handled, [], 'the handler does not run')
})

await t.test('mask copies no function, which could reveal a field', async (t) => {
  const { app } = await build(t)
  app.get(
    '/masked',
    { config: { rbac: { authenticated: 'a test' } } },
    async ({ rbac: access }) => {
      const record = { id: 'live', live: true, ownerId: 'ann' }
      return access.mask('content:read', { ...record, toJSON: () => record })
    },
  )
  const reply = await allows(t, { app }, { url: '/masked', headers: as('bob', 'viewer') })
  t.same(reply.json(), { id: 'live', live: true })
})

await t.test('a resource that is never loaded gets 503', async (t) => {
  const clock = createManualClock()
  const { app } = await build(t, { clock, factTimeoutMs: 200 })
  const handled: string[] = []
  const wait = createSignal()
  const resource = () => {
    wait.send()
    return new Promise(() => {})
  }
  app.put(
    '/hung',
    { config: { rbac: { permission: 'content:write', resource } } },
    async () => void handled.push('hung'),
  )
  const pending = app.inject({ method: 'PUT', url: '/hung', headers: as('root', 'admin') })
  const reply = pending.then((each) => each)
  await wait.received
  await new Promise((resolve) => setImmediate(resolve))
  clock.advance(200)
  t.match((await reply).json(), { statusCode: 503, code: 'PARAPET_RBAC_LOOKUP_TIMEOUT' })
  t.same(handled, [], 'the handler does not run')
})

await t.test('a principal of undefined is anonymous', async (t) => {
  for (const principal of [() => undefined, async () => undefined]) {
    const { app, handled } = await build(t, { principal })
    await refuses(t, { app, handled }, 401, { url: '/settings' })
    await allows(t, { app }, { url: '/health' })
  }
})

await t.test('a handler can use the loaded resource and request further decisions', async (t) => {
  const { app } = await build(t)
  app.get(
    '/inside/:id',
    {
      config: {
        rbac: {
          permission: 'content:read',
          resource: ({ params }) => records[(params as { id: string }).id],
        },
      },
    },
    async ({ rbac: access }) => ({
      resource: access.resource,
      write: access.can('content:write', access.resource),
      bare: access.can('content:write'),
      masked: access.mask('content:read', records['live']!),
    }),
  )
  const ann = await app.inject({ url: '/inside/live', headers: as('ann', 'author') })
  t.same(ann.json(), {
    resource: records['live'],
    write: true,
    bare: false,
    masked: records['live'],
  })
  const vic = await app.inject({ url: '/inside/live', headers: as('vic', 'viewer') })
  t.equal(vic.json<{ write: boolean }>().write, false)
  t.notOk('ownerId' in vic.json<{ masked: object }>().masked, 'this field needs a permission')
})

await t.test('authorize rejects with the error that the guard would send', async (t) => {
  const { app } = await build(t)
  let continued = 0
  app.get('/ask', { config: { rbac: { public: 'decides by itself' } } }, async (request) => {
    await request.rbac.authorize('content:write', records['live'])
    continued++
    return 'done'
  })
  const guarded = { app, handled: [] }
  const anonymous = await refuses(t, guarded, 401, { url: '/ask' })
  t.equal(anonymous.headers['www-authenticate'], 'Bearer')
  await refuses(t, guarded, 403, { url: '/ask', headers: as('bob', 'author') })
  t.equal(continued, 0, 'the handler does not continue')
  await allows(t, guarded, { url: '/ask', headers: as('ann', 'author') })
  t.equal(continued, 1)
})

await t.test('mask returns an empty copy if the record may not be read at all', async (t) => {
  const { app } = await build(t)
  app.get('/mask', { config: { rbac: { public: 'masks' } } }, async ({ rbac: access }) =>
    access.mask('content:read', records['draft']!),
  )
  t.same((await app.inject({ url: '/mask', headers: as('vic', 'viewer') })).json(), {})
  t.same((await app.inject('/mask')).json(), {})
})

await t.test('mask refuses a list, whose fields it would not see', async (t) => {
  const { app } = await build(t)
  const list = Object.values(records)
  app.get('/mask', { config: { rbac: { public: 'masks' } } }, async ({ rbac: access }) =>
    access.mask('content:read', list),
  )
  const reply = await app.inject({ url: '/mask', headers: as('root', 'admin') })
  t.equal(reply.statusCode, 500)
  t.match(reply.json(), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
    message: 'Invalid argument: "record" must be a single object, got an array',
  })
})

const teamPolicy = definePolicy({
  permissions: ['team:join', 'team:see'],
  resources: { team: { id: 'string' } },
  facts: { invited: 'boolean' },
  roles: {
    guest: {
      grants: ['team:see'],
      when: {
        'team:join': ({ fact, resource }) => or(eq(resource.id, 'open'), eq(fact.invited, true)),
      },
    },
  },
})

/** An app whose policy uses the fact `invited`; `lookUp.invited` returns it. */
async function buildTeams(t: Test) {
  const clock = createManualClock()
  const asked: unknown[] = []
  const lookUp: { invited: () => unknown } = { invited: () => true }
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy: teamPolicy,
    principal,
    clock,
    factTimeoutMs: 500,
    facts: {
      invited: ({ principal: { id }, resource: team }) => {
        asked.push([id, team])
        return lookUp.invited()
      },
    },
  })
  const handled = recordHandlers(app)
  app.get(
    '/join',
    { config: { rbac: { permission: 'team:join', resource: () => ({ id: 't1' }) } } },
    async () => 'in',
  )
  app.get('/bare', { config: { rbac: 'team:join' } }, async () => 'in')
  app.get('/see', { config: { rbac: 'team:see' } }, async (request) =>
    request.rbac.can('team:join', { id: 't1' }),
  )
  return { app, handled, clock, asked, lookUp }
}

const guest = (url: string) => ({ url, headers: as('ann', 'guest') })

await t.test('a fact is looked up only if a condition needs it', async (t) => {
  const built = await buildTeams(t)
  await allows(t, built, guest('/join'))
  t.same(built.asked, [['ann', { id: 't1' }]])
  const see = await built.app.inject(guest('/see'))
  t.equal(see.body, 'false', 'can does not wait for facts')
  t.equal(built.asked.length, 1, 'a rule without facts looks up none')
  await allows(t, built, guest('/bare'), 'a rule without a resource looks it up as well')
})

await t.test('a fact that is false, of another type, missing or failing denies', async (t) => {
  const built = await buildTeams(t)
  for (const bad of [
    () => false,
    () => 'yes',
    () => undefined,
    () => Promise.reject(new Error('down')),
    () => {
      throw new Error('down')
    },
  ]) {
    built.lookUp.invited = bad
    await refuses(t, built, 403, guest('/join'), String(bad))
  }
})

await t.test('a fact that is later than factTimeoutMs is unknown', async (t) => {
  const built = await buildTeams(t)
  let release: (() => void) | undefined
  const called = new Promise<void>((resolve) => {
    built.lookUp.invited = () => {
      resolve()
      return new Promise((late) => (release = () => late(true)))
    }
  })
  const slow = refuses(t, built, 403, guest('/join'))
  await called
  built.clock.advance(500)
  await slow
  release?.()
})

await t.test('requirePermission guards a route that has no other rule', async (t) => {
  const built = await build(t)
  const { app } = built
  app.get(
    '/by-hook',
    { preHandler: app.rbac.requirePermission('settings:manage') },
    async () => 'in',
  )
  await refuses(t, built, 401, { url: '/by-hook' })
  await refuses(t, built, 403, { url: '/by-hook', headers: as('ann', 'editor') })
  await allows(t, built, { url: '/by-hook', headers: as('root', 'admin') })
})

await t.test('requirePermission uses the resource that the rule has loaded', async (t) => {
  const built = await build(t)
  const { app } = built
  app.get(
    '/both/:id',
    {
      config: { rbac: { permission: 'content:read_drafts', resource } },
      preHandler: app.rbac.requirePermission('content:write'),
    },
    async () => 'in',
  )
  await allows(t, built, { url: '/both/draft', headers: as('ann', 'author') })
  await refuses(t, built, 403, { url: '/both/draft', headers: as('bob', 'author') })
  t.throws(() => app.rbac.requirePermission('settings:mange'), {
    code: 'PARAPET_RBAC_UNKNOWN_PERMISSION',
    statusCode: 500,
  })
})

await t.test('events report a denied decision and a sample of the allowed ones', async (t) => {
  const { app, events } = await build(t)
  await app.inject(settings(as('ann', 'editor')))
  await app.inject(settings(as('root', 'admin')))
  await app.inject({ url: '/health' })
  t.equal(events.length, 1)
  t.match(events[0], {
    type: 'rbac.denied',
    severity: 'low',
    outcome: 'failure',
    principalId: 'ann',
    route: 'GET /settings',
    details: {
      permissions: ['settings:manage'],
      roles: ['editor'],
      reason: 'no_grant',
      policyDigest: app.rbac.policyDigest,
    },
  })
  const all = await build(t, { allowedSampleRatio: 1 })
  await all.app.inject(settings(as('root', 'admin')))
  await all.app.inject(write('live', as('ann', 'author')))
  t.same(
    all.events.map(({ type }) => type),
    ['rbac.allowed', 'rbac.allowed'],
  )
  const some = await build(t, { allowedSampleRatio: 0.5 })
  for (let i = 0; i < 64; i++) await some.app.inject(settings(as('root', 'admin')))
  t.ok(some.events.length > 5 && some.events.length < 59, `${some.events.length} of 64`)
})

await t.test('repeated denials are one event a minute, with their number', async (t) => {
  const clock = createManualClock()
  const { app, events } = await build(t, { clock })
  for (let i = 0; i < 200; i++) {
    await app.inject({ url: '/settings', remoteAddress: '192.0.2.1' })
    await app.inject({ ...settings(as('bob', 'viewer')), remoteAddress: `2001:db8::${i + 1}` })
  }
  await app.inject({ url: '/settings', remoteAddress: '192.0.2.2' })
  await app.inject({ url: '/me', remoteAddress: '192.0.2.1' })
  t.equal(events.length, 4, 'two clients, two routes, one principal')
  t.match(
    events.map(({ details }) => details),
    [{ suppressed: 0 }, { suppressed: 0 }, { suppressed: 0 }, { suppressed: 0 }],
  )
  clock.advance(60_000)
  const route = 'GET /settings'
  const [anonymous, bob, ...others] = events.slice(4)
  t.same(others, [], 'what was not repeated is not reported again')
  t.match(anonymous, {
    type: 'rbac.denied',
    ip: '192.0.2.1',
    route,
    details: { reason: 'anonymous', suppressed: 199 },
  })
  t.match(bob, { principalId: 'bob', route, details: { reason: 'no_grant', suppressed: 199 } })
  t.notOk('requestId' in bob!, 'it stands for many requests')
  await app.inject({ url: '/settings', remoteAddress: '192.0.2.1' })
  await app.inject({ url: '/settings', remoteAddress: '192.0.2.1' })
  t.equal(events.length, 7, 'a new minute begins with an event')
  await app.close()
  t.match(events[7], { details: { suppressed: 1 } }, 'the rest is reported when the app closes')
})

await t.test('the memory of the fold of events is limited', (t) => {
  const clock = createManualClock()
  const reports: [string, number][] = []
  const fold = new EventFold<string>({
    clock,
    maxKeys: 100,
    report: (value, suppressed) => void reports.push([value, suppressed]),
  })
  const add = (key: string) => fold.add({ key, value: key }, { key: 'rest', value: 'others' })
  let first = 0
  for (let i = 0; i < 10_000; i++) if (add(`client ${i}`)) first++
  t.equal(first, 101, 'one event for each key, and one for all others')
  add('client 7')
  clock.advance(60_000)
  t.same(reports, [
    ['client 7', 1],
    ['others', 9899],
  ])
  t.equal(add('client 9999'), true, 'there is room again')
  clock.advance(-30_000_000)
  t.equal(add('client 9999'), true, 'a clock that was set back does not suppress for hours')
  fold.close()
  t.end()
})

await t.test('the option routes gives rules to routes of other plugins', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy,
    principal,
    routes: {
      'GET /docs/**': { public: 'the documentation' },
      '* /internal/**': 'settings:manage',
      'OPTIONS *': { public: 'CORS preflight' },
    },
  })
  const built = { app, handled: recordHandlers(app) }
  await app.register(async (child) => {
    child.get('/docs', async () => 'docs')
    child.get('/docs/static/*', async () => 'file')
    child.route({ method: ['GET', 'POST'], url: '/internal/jobs', handler: async () => 'jobs' })
    child.options('*', async () => '')
  })
  await allows(t, built, { url: '/docs' })
  await allows(t, built, { method: 'HEAD', url: '/docs/static/x' })
  await refuses(t, built, 403, { url: '/internal/jobs', headers: as('ann', 'editor') })
  await allows(t, built, { url: '/internal/jobs', headers: as('root', 'admin') })
  await allows(t, built, { method: 'OPTIONS', url: '/anything' })
})

await t.test('the plugin guards only the context in which it is registered', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const handled = recordHandlers(app)
  await app.register(async (child) => {
    await child.register(rbac, { policy, principal, outside: 'a test of the context' })
    child.get('/inside', { config: { rbac: 'settings:manage' } }, async () => 'inside')
  })
  app.get('/outside', async () => 'outside')
  await refuses(t, { app, handled }, 401, { url: '/inside' })
  await allows(t, { app }, { url: '/outside' }, 'there is no guard without the plugin')
  t.notOk(app.hasDecorator('rbac'))
})

await t.test('concurrent requests are decided for their own principals', async (t) => {
  const { app, handled }: { app: FastifyInstance; handled: string[] } = await build(t)
  const roles = Array.from({ length: 30 }, (_, i) => ['admin', 'editor', 'viewer'][i % 3]!)
  const replies = await Promise.all(
    roles.map((role) => app.inject(settings(as(`u-${role}`, role)))),
  )
  t.same(
    replies.map(({ statusCode }) => statusCode),
    roles.map((role) => (role === 'admin' ? 200 : 403)),
  )
  for (const reply of replies.filter(({ statusCode }) => statusCode === 403)) {
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_RBAC_DENIED')
  }
  t.equal(handled.length, 10, 'only the handlers of allowed requests run')
})
