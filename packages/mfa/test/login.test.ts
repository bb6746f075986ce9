import { setImmediate } from 'node:timers/promises'
import { mfa, type TrustLogin } from '@parapet/mfa'
import Fastify from 'fastify'
import t from 'tap'
import { passkeyIdOf } from '../src/passkeys/passkey.ts'
import { Authenticator, RELYING_PARTY } from './authenticator.ts'
import { build, codeAt, createApp, enrol, enrolPasskey, KEYS, outcome, post } from './helpers.ts'

const HOUR = 3_600_000

const trustLogin: TrustLogin = ({ amr = [] }, request) =>
  request.headers['x-acr'] === 'phr' ? 'phr' : amr.includes('oidc:mfa') ? 'aal2' : null
const withoutSession = () => ({ id: 'alice', roles: [] })
const signIn = async () => ({})

await t.test('if-enrolled asks only users who have a factor', async (t) => {
  const built = await build(t, { passkeys: RELYING_PARTY, roles: { admin: { graceSeconds: 60 } } })
  const { app, as, clock } = built
  app.post('/email', { config: { mfa: 'if-enrolled' } }, async () => 'changed')
  const strict = { ifEnrolled: true, phishingResistant: true, maxAgeSeconds: 60 }
  app.post('/close', { config: { mfa: strict } }, async () => 'closed')
  const ask = async (url: string, roles = 'user') =>
    outcome(await as('alice', { ...post(url), roles }))
  t.equal(outcome(await app.inject(post('/email'))), '401 LOGIN_REQUIRED')
  t.same([await ask('/email'), await ask('/close')], ['200', '200'], 'no factor yet')
  t.equal(await ask('/email', 'admin'), '200', 'the grace period of a role goes on')
  clock.advance(61_000)
  t.equal(await ask('/email', 'admin'), '403 ENROLMENT_REQUIRED', 'until it ends')
  const { secret } = await enrol(built, 'alice')
  t.same([await ask('/email'), await ask('/close')], Array(2).fill('401 STEP_UP_REQUIRED'))
  await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.same([await ask('/email'), await ask('/close')], ['200', '200'], 'with the factor there is')
  await enrolPasskey(built, 'alice')
  t.same([await ask('/email'), await ask('/close')], ['200', '401 STEP_UP_REQUIRED'])
  const [passkey] = await app.mfa.passkeys.list('alice')
  await app.mfa.passkeys.revoke('alice', passkey!.id)
  await app.mfa.totp.remove('alice')
  t.equal(await ask('/email'), '200', 'without a factor again')
})

await t.test('a second factor of an identity provider counts if it is trusted', async (t) => {
  const built = await build(t, { passkeys: RELYING_PARTY, trustLogin })
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  app.get('/fresh', { config: { mfa: { maxAgeSeconds: 300 } } }, async () => 'fresh')
  app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
  const start = clock.now()
  const ask = async (url: string, amr = 'oidc:mfa', headers = {}, authenticatedAt = start) =>
    outcome(await as('alice', { url, amr, authenticatedAt, headers }))
  t.same([await ask('/reports'), await ask('/fresh')], ['200', '200'])
  t.equal(await ask('/strict'), '403 ENROLMENT_REQUIRED')
  t.equal(await ask('/strict', 'x', { 'x-acr': 'phr' }), '200')
  t.equal(await ask('/reports', 'oidc'), '403 ENROLMENT_REQUIRED', 'a login that is not trusted')
  const undated = await as('alice', { url: '/reports', amr: 'oidc:mfa' })
  t.equal(outcome(undated), '403 ENROLMENT_REQUIRED', 'a login without a time')
  clock.advance(300_001)
  t.same([await ask('/reports'), await ask('/fresh')], ['200', '403 ENROLMENT_REQUIRED'])
  clock.advance(12 * HOUR)
  t.equal(await ask('/reports'), '403 ENROLMENT_REQUIRED', 'it counts as long as a proof')
  const { secret } = await enrol(built, 'alice')
  const renewal = { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), amr: 'mfa' }
  const trusted = { headers: { 'x-acr': 'phr' }, authenticatedAt: start }
  t.match((await as('alice', { ...renewal, ...trusted })).json(), { aal: 2 }, 'renewed by a code')
})

await t.test('a trustLogin that returns something else trusts nothing', async (t) => {
  for (const value of [true, {}, 'aal1', Promise.resolve('aal2')]) {
    const { app, as } = await build(t, { trustLogin: (() => value) as never })
    app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
    const reply = await as('alice', { url: '/reports', authenticatedAt: 1 })
    t.equal(outcome(reply), '500 INVALID_ARGUMENT', typeof value)
  }
})

await t.test('a principal without a session is refused in words, and logged once', async (t) => {
  const lines: { level: number; msg: string }[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as never) }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.after(() => app.close())
  const principal = withoutSession
  await app.register(mfa, { issuer: 'Acme', keys: KEYS, principal, passkeys: RELYING_PARTY })
  for (const url of ['/mfa/totp', '/mfa/passkeys/options', '/mfa/passkeys/verify/options']) {
    const reply = await app.inject({ method: 'POST', url })
    t.equal(outcome(reply), '403 SESSION_REQUIRED', url)
    t.match(reply.json(), { message: /belongs to a session, and the caller has no session/ })
  }
  const verify = await app.inject(post('/mfa/verify', { code: '123456' }))
  t.equal(outcome(verify), '403 SESSION_REQUIRED')
  t.match(
    lines.filter(({ msg }) => msg.includes('sessionId')),
    [{ level: 40, msg: /principal without "sessionId".*option "principal"; API keys have none/ }],
  )
  t.equal((await app.mfa.status('alice')).enrolled, false)
})

await t.test('an asynchronous principal is awaited by rules and by the routes', async (t) => {
  const app = createApp(t)
  let asked = 0
  const principal = async (request: { headers: Record<string, unknown> }) => {
    asked++
    await setImmediate()
    if (request.headers['cookie'] === undefined) return null
    return { id: 'alice', roles: ['admin'], sessionId: 's1' }
  }
  const options = { issuer: 'Acme', keys: KEYS, principal, roles: { admin: {} } }
  await app.register(mfa, options)
  app.get('/plain', async () => 'plain')
  app.get('/open', { config: { mfa: 'open' } }, async () => 'open')
  app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  const ask = async (url: string, headers = { cookie: 'a=b' }) =>
    outcome(await app.inject({ url, headers }))
  t.equal(await ask('/reports'), '403 ENROLMENT_REQUIRED')
  t.equal(await ask('/plain'), '403 ENROLMENT_REQUIRED', 'the rule of a role')
  t.equal(await ask('/plain', {} as never), '200')
  t.equal(await ask('/reports', {} as never), '401 LOGIN_REQUIRED')
  t.equal(await ask('/mfa'), '200')
  asked = 0
  t.equal(await ask('/open'), '200')
  t.equal(asked, 0, 'not where it is not needed')
})

await t.test('the login with a passkey is public for plugins that guard all routes', async (t) => {
  const app = createApp(t)
  const configs = new Map<string, unknown>()
  app.addHook('onRoute', ({ method, url, config }) => {
    configs.set(`${String(method)} ${url}`, config)
  })
  await app.register(mfa, { issuer: 'Acme', keys: KEYS, passkeys: RELYING_PARTY, signIn })
  for (const url of ['/mfa/passkeys/login', '/mfa/passkeys/login/options']) {
    const expected = { mfa: 'open', sessions: 'ignored', rbac: { public: /.{3,200}/ } }
    t.match(configs.get(`POST ${url}`), expected, url)
  }
  const others = [...configs].filter(([name]) => !name.includes('/login'))
  t.equal(others.length, 17)
  for (const [name, config] of others) {
    t.same(config, { mfa: 'open', sessions: 'enrolment' }, name)
  }
})

await t.test('an account has the name that its user knows, also from a database', async (t) => {
  const names: Record<string, string> = { alice: 'alice@example.org' }
  const asked: unknown[] = []
  const built = await build(t, {
    passkeys: RELYING_PARTY,
    async accountName(request, { id, sessionId }) {
      asked.push([request.url, id, sessionId])
      return names[id] ?? Promise.reject(new Error('no such user'))
    },
  })
  const { as } = built
  const begun = (await as('alice', post('/mfa/totp'))).json<{ uri: string }>()
  t.match(begun.uri, /^otpauth:\/\/totp\/Acme:alice%40example\.org\?/)
  const options = await as('alice', post('/mfa/passkeys/options'))
  t.match(options.json(), { user: { name: 'alice@example.org' } })
  t.same(asked, [
    ['/mfa/totp', 'alice', 's1'],
    ['/mfa/passkeys/options', 'alice', 's1'],
  ])
  t.equal(outcome(await as('bob', post('/mfa/totp'))), '500 no code')
  const wrong = await build(t, { accountName: () => 5 as never })
  t.equal(outcome(await wrong.as('alice', post('/mfa/totp'))), '500 INVALID_ARGUMENT')
})

await t.test('a passkey with the longest credential id has a short id in URLs', async (t) => {
  const built = await build(t, { passkeys: RELYING_PARTY })
  const { app, as } = built
  const device = new Authenticator(Buffer.alloc(1023, 7).toString('base64url'))
  await enrolPasskey(built, 'alice', device)
  const { passkeys } = (await as('alice', { url: '/mfa' })).json<{ passkeys: { id: string }[] }>()
  t.match(passkeys, [{ id: /^[\w-]{16}$/, credentialId: device.id }])
  t.equal(passkeys[0]!.id, passkeyIdOf(device.id))
  const { challenge } = await app.mfa.passkeys.assertionOptions('alice')
  const response = device.get({ challenge })
  t.equal(outcome(await as('alice', post('/mfa/passkeys/verify', { response }))), '200')
  const url = `/mfa/passkeys/${passkeys[0]!.id}`
  t.equal(outcome(await as('alice', { method: 'PATCH', url, payload: { name: 'Key' } })), '204')
  t.equal(outcome(await as('alice', { method: 'DELETE', url })), '204')
  t.same(await app.mfa.passkeys.list('alice'), [])
  await t.rejects(app.mfa.passkeys.verify('alice', response), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
})
