import { auditLog, defineActions, hmac, pii, type AuditLogOptions } from '@parapet/audit-log'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { createApp, createKeys, ORIGIN, recordsOf, useFolder } from './support.ts'

const INVALID = { code: 'PARAPET_AUDIT_LOG_INVALID_RECORD', statusCode: 500 }
const u1 = { id: 'u1', roles: ['x'] }

await t.test('unknown members are refused by name, with and without "actions"', async (t) => {
  const actions = defineActions({ 'user.update': {} })
  for (const app of [await createApp(t, { actions }), await createApp(t)]) {
    for (const name of ['principle', 'resourceID', 'foo', 'status', 'phase']) {
      await t.rejects(app.audit.record('user.update', { [name]: 'u1' }), {
        ...INVALID,
        message: new RegExp(`"${name}" is unknown; known are principal, actor, session`),
      })
    }
    for (const fields of [null, 'text', 5]) {
      await t.rejects(app.audit.record('user.update', fields as never), INVALID)
    }
    t.equal((await recordsOf(app)).length, 1, 'nothing was recorded')
  }
  const app = await createApp(t)
  for (const action of [null, 5, {}]) {
    await t.rejects(app.audit.record(action as never, {}), INVALID)
  }
})

await t.test('texts: what has no value is left out, and what is no text is refused', async (t) => {
  const app = await createApp(t, createKeys())
  const given: [value: unknown, text: string | undefined][] = [
    ['a', 'a'],
    ['', ''],
    [7, '7'],
    [5n, '5'],
    [null, undefined],
    [undefined, undefined],
  ]
  const refused = [true, ['a'], { a: 1 }, Number.NaN, Symbol('a'), () => 'a', new Date(0)]
  const marked = ['principal', 'actor', 'session', 'tenant', 'ip', 'userAgent', 'resourceId']
  const plain = ['resource', 'errorCode', 'requestId', 'route']
  for (const name of [...marked, ...plain]) {
    for (const [value] of given) await app.audit.record('thing.act', { [name]: value })
    const texts = (await recordsOf(app)).slice(-given.length).map((record) => record[name])
    t.same(
      texts,
      given.map(([, text]) => text),
      name,
    )
    for (const value of refused) {
      await t.rejects(app.audit.record('thing.act', { [name]: value }), {
        ...INVALID,
        message: new RegExp(`"${name}" must be a text`),
      })
    }
  }
  for (const name of plain) {
    // Its clear text would be logged.
    await t.rejects(app.audit.record('thing.act', { [name]: hmac('a') }), INVALID)
  }
  await t.rejects(app.audit.record('thing.act', { severity: 'bogus' }), INVALID)
  for (const subject of ['', undefined, 5]) {
    const principal = pii('a', { subject } as never)
    await t.rejects(app.audit.record('thing.act', { principal }), INVALID)
  }
})

await t.test('a member without a value keeps that of the request', async (t) => {
  const app = await createApp(t, { principal: () => u1 })
  app.post('/:kind', async (request) => {
    const principals: Record<string, unknown> = {
      null: null,
      absent: undefined,
      whole: request.principal,
      other: { id: 'u2' },
    }
    const { kind } = request.params as { kind: string }
    return request.audit('thing.act', { principal: principals[kind], ip: null } as never)
  })
  for (const kind of ['null', 'absent', 'whole', 'other']) {
    t.equal((await app.inject({ method: 'POST', url: `/${kind}` })).statusCode, 200)
  }
  t.same(
    (await recordsOf(app)).slice(1).map(({ principal, ip }) => [principal, ip]),
    ['u1', 'u1', 'u1', 'u2'].map((id) => [id, '127.0.0.1']),
  )
})

await t.test('a resource id that is no text is left out, and never stops a request', async (t) => {
  const app = await createApp(t)
  const values = [null, undefined, {}, Promise.resolve('7'), true, 5n, 5, 'a']
  values.forEach((value, at) => {
    const resourceId = (_request: FastifyRequest) => value as never
    app.get(`/${at}`, { config: { audit: { action: 'thing.act', resourceId } } }, async () => 'ok')
  })
  for (const at of values.keys()) t.equal((await app.inject(`/${at}`)).statusCode, 200)
  t.same(
    (await recordsOf(app)).slice(1).map((record) => record['resourceId']),
    [undefined, undefined, undefined, undefined, undefined, '5', '5', 'a'],
  )
})

await t.test('the reply of a request is recorded with its status', async (t) => {
  const app = await createApp(t)
  app.get('/:status', { config: { audit: 'thing.act' } }, async (request, reply) =>
    reply.code(Number((request.params as { status: string }).status)).send(),
  )
  for (const status of [200, 302, 404]) await app.inject(`/${status}`)
  await app.audit.record('thing.act', {})
  t.same(
    (await recordsOf(app)).slice(1).map(({ status, result }) => [status, result]),
    [
      [200, 'success'],
      [302, 'success'],
      [404, 'failure'],
      [undefined, 'success'],
    ],
  )
})

await t.test('a creation has no state before, and a deletion none after', async (t) => {
  const app = await createApp(t)
  const user = { name: 'n', password: 'p', inner: [{ apiKey: 'k' }] }
  await app.audit.record('user.create', { changes: { after: user } })
  await app.audit.record('user.delete', { changes: { before: user } })
  const kept = { name: 'n', password: '[redacted]', inner: [{ apiKey: '[redacted]' }] }
  t.match((await recordsOf(app)).slice(1), [
    { changes: [{ path: '', to: kept, from: undefined }] },
    { changes: [{ path: '', from: kept, to: undefined }] },
  ])
  for (const changes of [{}, { before: 1, afterwards: 2 }]) {
    await t.rejects(app.audit.record('user.update', { changes }), INVALID)
  }
})

await t.test('a rule of "fields" names a member that it can protect', async (t) => {
  const refused = ['principle', '/data/x', 'changes', '', 'requestId', 'data.', 'result']
  for (const path of refused) {
    const options = { fields: { [path]: 'drop' } } as Partial<AuditLogOptions>
    const app = Fastify()
    await t.rejects(
      Promise.resolve(
        app.register(auditLog, { origin: ORIGIN, directory: useFolder(t), ...options }),
      ),
      {
        code: 'PARAPET_AUDIT_LOG_INVALID_OPTION',
        message: /principal, actor, session.*"changes\./,
      },
      path,
    )
    await app.close()
  }
})

await t.test('secret names and the secrets of URLs are redacted', async (t) => {
  const app = await createApp(t)
  const secret = [
    'pwd',
    'dbPwd',
    'jwt',
    'userJWT',
    'bearer',
    'dbPass',
    'DBPass',
    'pass word',
    'ssn',
  ]
  const open = ['passenger', 'bypass', 'compass', 'passport', 'assn', 'forbearer']
  const data = Object.fromEntries([...secret, ...open].map((name) => [name, 'v']))
  const urls = [
    'https://user:pass@host/path',
    'see postgres://u@h/db now',
    'https://host/?a=1&access_token=t&b=2#id_token=x',
    'https://host/a@b?c=d',
  ]
  await app.audit.record('thing.act', { data: { ...data, urls } })
  const found = (await recordsOf(app))[1]!['data'] as Record<string, unknown>
  for (const name of secret) t.equal(found[name], '[redacted]', name)
  for (const name of open) t.equal(found[name], 'v', name)
  t.same(found['urls'], [
    'https://[redacted]@host/path',
    'see postgres://[redacted]@h/db now',
    'https://host/?a=1&access_token=[redacted]&b=2#id_token=[redacted]',
    'https://host/a@b?c=d',
  ])
})
