import { createMemoryStore } from '@parapet/kit'
import { createStoreAccounts, mfa } from '@parapet/mfa'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { Authenticator, RELYING_PARTY } from './authenticator.ts'
import {
  begin,
  build,
  codeAt,
  enrol,
  enrolPasskey,
  KEYS,
  outcome,
  post,
  wrongCode,
} from './helpers.ts'

const alice = { id: 'alice', roles: [], sessionId: 's1' }

async function login(request: FastifyRequest): Promise<void> {
  request.principal = alice
}

const REMOVED = { totp: null, backupCodesLeft: 0, enrolled: false }

await t.test('a user without a factor enrols the first one only soon after a login', async (t) => {
  const { app, as, clock } = await build(t, { passkeys: RELYING_PARTY, manageMaxAgeSeconds: 300 })
  const begun = await begin({ app, clock }, 'alice')
  const { challenge } = await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'a' })
  const code = codeAt(begun.secret, clock.now())
  const response = new Authenticator().create({ challenge })
  const authenticatedAt = clock.now() - 300_000
  const changes = [
    post('/mfa/totp'),
    post('/mfa/totp/confirm', { ticket: begun.ticket, code }),
    post('/mfa/passkeys/options'),
    post('/mfa/passkeys', { response, name: 'Laptop' }),
  ]
  for (const change of changes) {
    const reply = await as('alice', { ...change, authenticatedAt })
    t.equal(outcome(reply), '401 RECENT_LOGIN_REQUIRED', change.url as string)
    const header = 'Bearer error="insufficient_user_authentication", max_age="300"'
    t.equal(reply.headers['www-authenticate'], header)
  }
  const future = await as('alice', {
    ...changes[0]!,
    authenticatedAt: clock.now() + 300_000,
  })
  t.equal(outcome(future), '401 RECENT_LOGIN_REQUIRED', 'it would be recent for too long')
  t.match(await app.mfa.status('alice'), { ...REMOVED, passkeys: [] }, 'nothing was enrolled')
  const recent = { ...changes[1]!, authenticatedAt: authenticatedAt + 1 }
  t.equal(outcome(await as('alice', recent)), '200', 'a login within the time')
  t.equal(outcome(await as('bob', post('/mfa/totp'))), '201', 'a login that reports no time')
})

await t.test(
  'an operator who acts as a user shows and changes no factor of the user',
  async (t) => {
    const built = await build(t, { passkeys: RELYING_PARTY })
    const { app, as, clock } = built
    const { secret, backupCodes } = await enrol(built, 'alice')
    clock.advance(60_000)
    const response = new Authenticator().get({ challenge: 'x' })
    const headers = { 'x-actor': 'operator' }
    for (const request of [
      post('/mfa/totp'),
      { method: 'DELETE', url: '/mfa/totp' } as const,
      post('/mfa/verify', { code: codeAt(secret, clock.now()) }),
      post('/mfa/recover', { codes: backupCodes.slice(0, 2) }),
      post('/mfa/backup-codes'),
      post('/mfa/passkeys/options'),
      post('/mfa/passkeys/verify/options'),
      post('/mfa/passkeys/verify', { response }),
      { method: 'DELETE', url: '/mfa/devices' } as const,
      { method: 'DELETE', url: `/mfa/devices/${'x'.repeat(22)}` } as const,
    ]) {
      const reply = await as('alice', { ...request, headers })
      const name = `${request.method} ${request.url as string}`
      t.equal(outcome(reply), '403 IMPERSONATED', name)
      // A login that reports no time may enrol a first factor; an operator may not.
      const first = await as('bob', { ...request, headers })
      t.equal(outcome(first), '403 IMPERSONATED', `${name} of bob`)
    }
    t.match(await app.mfa.status('alice'), { enrolled: true, backupCodesLeft: 4 })
    t.equal(outcome(await as('alice', { method: 'GET', url: '/mfa', headers })), '200')
  },
)

await t.test('wrong first codes of one user make no other user of the address wait', async (t) => {
  const built = await build(t)
  const { secret, backupCodes } = await enrol(built, 'alice')
  const { as, clock } = built
  const begun = await begin(built, 'mallory', secret)
  const code = wrongCode(begun.secret, clock.now())
  const confirm = post('/mfa/totp/confirm', { ticket: begun.ticket, code })
  for (let i = 0; i < 30; i++) {
    t.equal(outcome(await as('mallory', { ...confirm, ip: '192.0.2.1' })), '403 CODE_REFUSED')
  }
  for (const right of [codeAt(secret, clock.now()), backupCodes[0]]) {
    const reply = await as('alice', { ...post('/mfa/verify', { code: right }), ip: '192.0.2.1' })
    t.equal(outcome(reply), '200')
  }
})

await t.test('a storage that never answers is 503', async (t) => {
  const memory = createStoreAccounts(createMemoryStore())
  let isHung = false
  const calls: (() => void)[] = []
  const accounts = new Proxy(memory, {
    get(target, name) {
      const value = Reflect.get(target, name) as (...args: unknown[]) => unknown
      return (...args: unknown[]) => {
        if (!isHung) return value.apply(target, args)
        for (const called of calls.splice(0)) called()
        return new Promise(() => {})
      }
    },
  })
  const built = await build(t, { accounts })
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  isHung = true
  const context = { request: { ip: '192.0.2.1', headers: {} }, amr: ['pwd'], setHeader: () => {} }
  const login = async () => {
    const code = await app.mfa.secondFactor.methodsOf('alice', context).then(
      () => 'no error',
      (error: { code: string }) => error.code,
    )
    return code === 'PARAPET_MFA_BUSY' ? '503 BUSY' : code
  }
  const asked: Record<string, () => Promise<string>> = {
    'a code': async () =>
      outcome(await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))),
    'the status': async () => outcome(await as('alice', { url: '/mfa' })),
    'a route with a rule': async () => outcome(await as('alice', { url: '/reports' })),
    'the second step of a login': login,
  }
  for (const [what, ask] of Object.entries(asked)) {
    const called = new Promise<void>((resolve) => void calls.push(resolve))
    const reply = ask()
    await called
    await new Promise(setImmediate)
    clock.advance(5000)
    t.equal(await reply, '503 BUSY', what)
  }
})

await t.test('an empty body of type JSON is no error where a route needs none', async (t) => {
  const { as } = await build(t, { passkeys: RELYING_PARTY })
  const headers = { 'content-type': 'application/json' }
  const send = async (method: 'POST' | 'DELETE', url: string, more = {}) =>
    outcome(await as('alice', { method, url, headers: { ...headers, ...more } }))
  t.equal(await send('POST', '/mfa/totp'), '201')
  t.equal(await send('POST', '/mfa/totp', { 'content-length': '0' }), '201')
  t.equal(await send('POST', '/mfa/passkeys/options'), '200')
  t.equal(await send('DELETE', '/mfa/devices'), '204')
  t.equal(await send('DELETE', '/mfa/totp'), '404 NOT_FOUND')
  t.equal(await send('POST', '/mfa/backup-codes'), '404 NOT_FOUND')
  t.equal(await send('POST', '/mfa/verify'), '400 FST_ERR_VALIDATION', 'this route needs one')
})

await t.test('a caller without a session reads and changes nothing', async (t) => {
  const built = await build(t)
  const { app, as } = built
  await enrol(built, 'alice')
  await app.mfa.devices.remember('alice', 'Browser')
  const [device] = await app.mfa.devices.list('alice')
  const requests = [
    { url: '/mfa' },
    { method: 'DELETE', url: '/mfa/devices' },
    { method: 'DELETE', url: `/mfa/devices/${device!.id}` },
    post('/mfa/recover', { codes: ['7K2QM-9ZPX4-W0DT', '7K2QM-9ZPX4-W0DV'] }),
  ] as const
  for (const request of requests) {
    const reply = await as('alice', { ...request, session: '' })
    t.equal(outcome(reply), '403 SESSION_REQUIRED', request.url as string)
  }
  t.equal((await app.mfa.devices.list('alice')).length, 1)
  const anonymous = await app.inject('/mfa')
  t.equal(outcome(anonymous), '401 LOGIN_REQUIRED')
  t.equal(anonymous.headers['www-authenticate'], 'Bearer', 'RFC 9110, section 11.6.1')
})

await t.test('the backup codes go with the last factor', async (t) => {
  const built = await build(t, { passkeys: RELYING_PARTY })
  const { app } = built
  const { backupCodes } = await enrol(built, 'alice')
  await enrolPasskey(built, 'alice')
  await app.mfa.totp.remove('alice')
  t.match(await app.mfa.status('alice'), { enrolled: true, backupCodesLeft: 4 })
  const [passkey] = await app.mfa.passkeys.list('alice')
  await app.mfa.passkeys.revoke('alice', passkey!.id)
  t.match(await app.mfa.status('alice'), REMOVED)
  await t.rejects(app.mfa.verify('alice', backupCodes[0]!), {
    code: 'PARAPET_MFA_CODE_REFUSED',
    statusCode: 403,
  })
})

await t.test('erasing an account is an event', async (t) => {
  const built = await build(t)
  await enrol(built, 'alice')
  built.events.length = 0
  await built.app.mfa.forget('alice')
  t.match(built.events, [{ type: 'mfa.forgotten', severity: 'high', principalId: 'alice' }])
})

await t.test('a passkey that was not offered is refused as the input of the client', async (t) => {
  const { app } = await build(t)
  const context = { request: { ip: '192.0.2.1', headers: {} }, amr: ['pwd'], setHeader: () => {} }
  await t.rejects(app.mfa.secondFactor.verify('alice', { passkey: {} }, context), {
    code: 'PARAPET_MFA_PASSKEY_REFUSED',
    statusCode: 403,
  })
})

await t.test('a `trustLogin` that returns nothing trusts nothing', async (t) => {
  const { app, as } = await build(t, { trustLogin: () => undefined })
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  t.equal(outcome(await as('alice', { url: '/reports' })), '403 ENROLMENT_REQUIRED')
})

await t.test('with a profile, a login that reports no time enrols no first factor', async (t) => {
  for (const profile of ['aal2', 'asvs'] as const) {
    const { app, as, clock } = await build(t, { profile })
    const reply = await as('alice', post('/mfa/totp'))
    t.equal(outcome(reply), '401 RECENT_LOGIN_REQUIRED', profile)
    const begun = await begin({ app, clock }, 'alice')
    const code = codeAt(begun.secret, clock.now())
    const confirm = post('/mfa/totp/confirm', { ticket: begun.ticket, code })
    t.equal(outcome(await as('alice', confirm)), '401 RECENT_LOGIN_REQUIRED')
    t.match(await app.mfa.status('alice'), REMOVED)
    const recent = { ...confirm, authenticatedAt: clock.now() }
    t.equal(outcome(await as('alice', recent)), '200')
  }
})

await t.test('a login without a time is logged once', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.after(() => app.close())
  await app.register(mfa, { issuer: 'Acme', keys: KEYS, principal: () => alice })
  for (let i = 0; i < 2; i++) {
    t.equal((await app.inject({ method: 'POST', url: '/mfa/totp' })).statusCode, 201)
  }
  t.equal(lines.filter((line) => line.includes('does not say when it took place')).length, 1)
})

await t.test('a login in a later hook is seen where the option hook says so', async (t) => {
  const expected = {
    onRequest: ['401 LOGIN_REQUIRED', '401 LOGIN_REQUIRED', '401 LOGIN_REQUIRED'],
    preParsing: ['403 ENROLMENT_REQUIRED', '401 LOGIN_REQUIRED', '403 ENROLMENT_REQUIRED'],
    preHandler: ['403 ENROLMENT_REQUIRED', '403 ENROLMENT_REQUIRED', '403 ENROLMENT_REQUIRED'],
  } as const
  for (const hook of ['onRequest', 'preParsing', 'preHandler'] as const) {
    const app = Fastify()
    t.after(() => app.close())
    let handled = 0
    const handler = async () => void handled++
    await app.register(mfa, { issuer: 'Acme', keys: KEYS, hook })
    const config = { mfa: 'required' } as const
    app.get('/route', { config, onRequest: login }, handler)
    app.get('/handler', { config, preHandler: login }, handler)
    await app.register(async (child) => {
      child.addHook('onRequest', login)
      child.get('/child', { config }, handler)
    })
    const urls = ['/route', '/handler', '/child']
    const replies = await Promise.all(urls.map((url) => app.inject(url)))
    t.same(replies.map(outcome), expected[hook], hook)
    const heads = await Promise.all(urls.map((url) => app.inject({ method: 'HEAD', url })))
    t.ok(heads.every(({ statusCode }) => statusCode >= 400))
    t.equal(handled, 0)
    const open = Fastify()
    t.after(() => open.close())
    open.get('/before', { config, onRequest: login }, handler)
    await open.register(mfa, { issuer: 'Acme', keys: KEYS, hook })
    t.equal((await open.inject('/before')).statusCode, 401, 'a route older than the plugin')
    t.equal(handled, 0)
  }
})
