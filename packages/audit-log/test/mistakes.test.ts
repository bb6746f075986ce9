import { auditLog, ephemeralDirectory } from '@parapet/audit-log'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t from 'tap'
import { canonicalize, type Json } from '../src/record/canonical-json.ts'
import { createApp, ORIGIN, useFolder } from './support.ts'

/** A logger that keeps the warnings. */
function createLog() {
  const warnings: string[] = []
  const stream = {
    write(line: string) {
      const { level, msg } = JSON.parse(line) as { level: number; msg: string }
      if (level === 40) warnings.push(msg)
    },
  }
  return { warnings, server: { logger: { level: 'warn', stream } } }
}

function office(address: string): boolean {
  return address.startsWith('10.')
}

function broken(): never {
  throw new Error('no table')
}

async function register(instance: FastifyInstance): Promise<void> {
  await instance.register(auditLog, { origin: ORIGIN, directory: ephemeralDirectory })
}

await t.test('a function that trusts every proxy is refused like trustProxy: true', async (t) => {
  const cases: [trustProxy: unknown, isRefused: boolean][] = [
    [true, true],
    [() => true, true],
    [office, false],
    [broken, false],
    ['10.0.0.0/8', false],
    ['0.0.0.0/1,128.0.0.0/1', true],
    [1, false],
  ]
  for (const [trustProxy, isRefused] of cases) {
    const app: FastifyInstance = Fastify({ trustProxy } as FastifyServerOptions)
    const registered = Promise.resolve(
      app.register(auditLog, { origin: ORIGIN, directory: useFolder(t) }),
    )
    if (isRefused) {
      await t.rejects(registered, { code: 'PARAPET_AUDIT_LOG_UNSAFE_PROXY', statusCode: 500 })
    } else await t.resolves(registered)
    await app.close()
  }
})

await t.test('the plugin is registered once, on the root instance', async (t) => {
  const app = await createApp(t)
  await t.rejects(
    Promise.resolve(app.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })),
    { code: 'PARAPET_AUDIT_LOG_REGISTERED_TWICE', statusCode: 500 },
  )
  for (const isChild of [true, false]) {
    const { warnings, server } = createLog()
    const root: FastifyInstance = Fastify(server)
    t.after(() => root.close())
    if (isChild) await root.register(register)
    else await register(root)
    await root.ready()
    const found = warnings.filter((text) => text.includes('child context'))
    t.equal(found.length, isChild ? 1 : 0)
  }
})

await t.test('a login that the log does not see is named once', async (t) => {
  for (const principal of [undefined, () => null]) {
    const { warnings, server } = createLog()
    const app = await createApp(t, principal === undefined ? {} : { principal }, server)
    app.addHook('onRequest', async (request) => {
      if (request.headers.authorization !== undefined)
        Object.assign(request, { user: { id: 'u1' } })
    })
    app.get('/', { config: { audit: 'thing.act' } }, async () => 'ok')
    const found = () => warnings.filter((text) => text.includes('option "principal"')).length
    await app.inject('/')
    t.equal(found(), 0)
    for (let i = 0; i < 3; i++) await app.inject({ url: '/', headers: { authorization: 'x' } })
    t.equal(found(), principal === undefined ? 1 : 0)
  }
})

await t.test('a time of a query is a number, a date or a time with its zone', async (t) => {
  const app = await createApp(t)
  await app.register(app.audit.routes, { prefix: '/audit', guard: () => true })
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  const counts = async (since: string) => {
    const reply = await app.inject({ url: '/audit/events', query: { since, action: 'thing.act' } })
    return reply.statusCode === 200
      ? reply.json<{ entries: unknown[] }>().entries.length
      : reply.statusCode
  }
  for (const past of ['0', '2020-01-01', '2020-01-01T00:00Z', '2020-01-01T00:00:00.5+02:00']) {
    t.equal(await counts(past), 1, past)
  }
  for (const future of ['4102444800000', '2100-01-01', '2100-01-01T00:00:00Z']) {
    t.equal(await counts(future), 0, future)
  }
  for (const bad of ['2020', '2020-13-01', '2020-01-01T00:00:00', 'yesterday', '-1', '1.5']) {
    t.equal(await counts(bad), bad === '2020' ? 1 : 400, bad)
  }
})

await t.test('a CSV export has what was changed', async (t) => {
  const app = await createApp(t)
  await app.audit.record('thing.act', {
    userAgent: '=agent',
    severity: 'low',
    changes: { before: { a: 1 }, after: { a: 2 } },
    data: { note: 'x,"y"' },
  })
  await app.audit.flush()
  let csv = ''
  const filters = { action: 'thing.act' }
  for await (const line of await app.audit.export({ format: 'csv', filters })) csv += line
  const [head, row] = csv.split('\r\n')
  t.match(head, /,writer,user_agent,severity,status,phase,attempt_id,changes,data$/)
  t.match(row, /,'=agent,|,"'=agent",/)
  t.ok(row!.includes('"[{""from"":1,""path"":""/a"",""to"":2}]"'))
  t.ok(row!.includes('""note""'))
  const [{ leaf } = { leaf: '' }] = await app.audit.parts.store.entries(1, 2)
  t.equal(leaf, canonicalize(JSON.parse(leaf) as Json), 'the entry is canonical')
})
