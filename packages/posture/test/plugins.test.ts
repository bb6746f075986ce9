/** Decorators of known plugins are read where present; a decorator that throws is no answer. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { check, create, lineOf } from './helpers.ts'

const decorate = (app: FastifyInstance, name: string, value: object): void => {
  app.decorate(name as 'version', value as never)
}
const row = (url: string, anonymous: string) => ({
  method: 'GET',
  url,
  rule: anonymous === 'allow' ? 'public' : 'items:read',
  anonymous,
  roles: { admin: 'allow', viewer: 'deny' },
})

await t.test('the matrix of rbac answers authentication and authorization', async (t) => {
  const app = create(t)
  app.get('/a', async (_, reply) => reply.code(404).send({}))
  app.get('/b', async () => 'b')
  decorate(app, 'rbac', { matrix: () => ({ rows: [row('/a', 'deny'), row('/b', 'allow')] }) })
  const report = await check(app)
  t.match(lineOf(report, 'AUT-02'), { status: 'pass', evidence: /public: GET \/b/ })
  t.match(lineOf(report, 'AZN-01'), { status: 'pass' })
  t.match(lineOf(report, 'AZN-06'), {
    status: 'pass',
    evidence: '2 routes × 2 roles from rbac, which denies by default',
  })
})

await t.test('the audit of input-guard answers bounds', async (t) => {
  const app = create(t)
  decorate(app, 'inputGuard', { audit: () => ['POST /a body/name'] })
  t.match(lineOf(await check(app), 'VAL-03'), {
    status: 'fail',
    findings: [{ where: 'POST /a body/name' }],
  })
})

await t.test('decorators are found in the contexts of routes, too', async (t) => {
  const app = create(t)
  await app.register(async (child) => {
    decorate(child, 'rateLimits', { peek: () => null })
    decorate(child, 'audit', { record: () => null })
    child.post('/login', async () => 'a')
  })
  const report = await check(app)
  for (const id of ['RAT-01', 'RAT-02', 'AUD-01', 'AUD-02'])
    t.equal(lineOf(report, id).status, 'pass', id)
})

await t.test('a decorator of another plugin with the same name is no evidence', async (t) => {
  const app = create(t)
  decorate(app, 'audit', { log: () => null })
  decorate(app, 'sessions', { all: [] })
  app.post('/login', async () => 'a')
  const report = await check(app)
  t.equal(lineOf(report, 'AUD-01').status, 'fail')
  t.equal(lineOf(report, 'AUT-12').status, 'manual')
})

await t.test('the policy of sessions covers its own routes, and no other', async (t) => {
  const password = { type: 'string', minLength: 1 }
  const schema = {
    tags: ['sessions'],
    operationId: 'changePassword',
    body: { type: 'object', properties: { password } },
  }
  const status = async (isRegistered: boolean, url: string | null) => {
    const app = create(t)
    if (isRegistered) decorate(app, 'sessions', { revoke: () => null })
    app.post('/auth/password', { schema }, async () => 'a')
    const other = { ...schema, operationId: 'register' }
    if (url !== null) app.post(url, { schema: other }, async () => 'a')
    return lineOf(await check(app), 'AUT-07')
  }
  t.match(await status(true, null), { status: 'pass', evidence: /the policy of sessions/ })
  t.match(await status(true, '/register'), {
    status: 'fail',
    findings: [{ where: 'POST /register' }],
  })
  t.match(await status(false, null), { status: 'fail' }, 'a tag alone is no evidence')
})

const fail = (): never => {
  throw new Error('not ready')
}

await t.test('a decorator that throws is no answer, and no failure of the check', async (t) => {
  const app = create(t)
  decorate(app, 'rbac', { matrix: fail })
  decorate(app, 'inputGuard', { audit: fail })
  decorate(app, 'jwt', { sign: fail })
  app.post('/a', async () => 'a')
  const report = await check(app)
  t.equal(lineOf(report, 'AUT-01').status, 'fail')
  t.equal(lineOf(report, 'AUT-04').status, 'not-applicable')
})

await t.test(
  'the presence of other plugins is evidence for the lines that they serve',
  async (t) => {
    const app = create(t)
    decorate(app, 'fieldEncryption', {})
    decorate(app, 'mfa', { totp: {} })
    decorate(app, 'secrets', { doctor: () => null })
    decorate(app, 'securityEvents', { emit: () => null })
    decorate(app, 'incidents', {})
    decorate(app, 'privacy', {})
    decorate(app, 'sessions', { revoke: () => null })
    app.post('/login', async () => 'a')
    const report = await check(app)
    for (const id of [
      'ENC-01',
      'AUT-11',
      'SEC-05',
      'LOG-03',
      'INC-01',
      'ENC-05',
      'AUT-12',
      'AUT-09',
      'AUT-04',
    ]) {
      t.equal(lineOf(report, id).status, 'pass', id)
    }
  },
)
