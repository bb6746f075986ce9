/** Single sign-on against a provider that sends invalid responses. */
import { createManualClock, createMemoryStore, type SecurityEvent } from '@parapet/kit'
import {
  allowInsecureProvider,
  generateSecret,
  sessions,
  type OidcProviderOptions,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { baseOptions, secret } from './build.ts'
import { segment, type Json } from './forge.ts'
import {
  clientId,
  clientSecret,
  createSigningKey,
  halfHash,
  hmacIdToken,
  idToken,
  key,
  startHostileProvider,
  tokens,
  type HostileProvider,
  type Script,
} from './hostile-provider.ts'

interface Built {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
}

async function build(
  t: Test,
  { issuer }: HostileProvider,
  provider: Partial<OidcProviderOptions> = {},
  more: Partial<SessionsOptions> = {},
): Promise<Built> {
  const app = Fastify()
  t.after(() => app.close())
  const acme = {
    issuer,
    clientId,
    clientSecret,
    redirectUri: 'https://api.example.com/auth/oidc/acme/callback',
    [allowInsecureProvider]: true,
    ...provider,
  } as const
  const oidc = { acme, other: { ...acme, redirectUri: acme.redirectUri.replace('acme', 'other') } }
  await app.register(sessions, { ...baseOptions, prefix: '/auth', oidc, ...more })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events }
}

async function begin(app: FastifyInstance, name = 'acme'): Promise<{ url: URL; cookie: string }> {
  const reply = await app.inject(`/auth/oidc/${name}`)
  return { url: new URL(String(reply.headers.location)), cookie: reply.cookies[0]!.value }
}

async function comeBack(
  app: FastifyInstance,
  query: URLSearchParams,
  cookie: string,
  name = 'acme',
): Promise<string> {
  const url = `/auth/oidc/${name}/callback?${query.toString()}`
  const reply = await app.inject({ url, cookies: { [ssoCookie(query)]: cookie } })
  const { code } = reply.json<{ code?: string }>()
  return code === undefined ? String(reply.statusCode) : `${reply.statusCode} ${code}`
}

/** The name of the cookie of the login with this state. */
function ssoCookie(query: URLSearchParams): string {
  return `__Host-single-sign-on-${(query.get('state') ?? '').slice(0, 22)}`
}

async function logIn({ app }: Built, provider: HostileProvider): Promise<string> {
  const { url, cookie } = await begin(app)
  return comeBack(app, provider.approve(url), cookie)
}

const REFUSED = '401 PARAPET_SESSIONS_SSO_REFUSED'
const DOWN = '503 PARAPET_SESSIONS_UNAVAILABLE'

function replying(body: unknown, status = 200): Partial<Script> {
  return { answer: () => ({ status, body }) }
}

/** Invalid responses of the provider, by name. */
function invalidResponsesOf({ claims, issuer }: HostileProvider): Record<string, Partial<Script>> {
  const saying = (change: (claims: Json) => string | Json): Partial<Script> => ({
    answer: (nonce) => {
      const token = change(claims(nonce))
      return { body: tokens(typeof token === 'string' ? token : idToken(token)) }
    },
  })
  const claiming = (more: Json): Partial<Script> => saying((good) => ({ ...good, ...more }))
  const without = (name: string): Partial<Script> =>
    saying((good) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name)))
  const past = Math.floor(Date.now() / 1000) - 3600
  const foreign = createSigningKey(key.kid)
  const weak = createSigningKey('weak', 1024)
  return {
    'another issuer': claiming({ iss: 'https://evil.example' }),
    'an issuer with an extra slash': claiming({ iss: `${issuer}/` }),
    'another audience': claiming({ aud: 'other' }),
    'a second audience, and no azp': claiming({ aud: [clientId, 'other'] }),
    'a second audience, and another azp': claiming({ aud: [clientId, 'other'], azp: 'other' }),
    'one audience, and azp is another': claiming({ azp: 'other' }),
    'another nonce': claiming({ nonce: 'x' }),
    'a nonce that is not a string': claiming({ nonce: [1] }),
    'an expired token': claiming({ iat: past, exp: past + 60 }),
    'exp as a string': claiming({ exp: '9999999999' }),
    'not valid yet': claiming({ nbf: past + 7200 }),
    'a subject that is a number': claiming({ sub: 1 }),
    'an empty subject': claiming({ sub: '' }),
    'a subject of 10 000 characters': claiming({ sub: 'x'.repeat(10_000) }),
    'a subject that is not well-formed Unicode': claiming({ sub: '\ud800' }),
    'another access token': claiming({ at_hash: halfHash('another access token') }),
    'at_hash as a number': claiming({ at_hash: 1 }),
    'no nonce': without('nonce'),
    'no issuer': without('iss'),
    'no audience': without('aud'),
    'no subject': without('sub'),
    'no exp': without('exp'),
    'no iat': without('iat'),
    'alg none': saying((good) => `${segment({ alg: 'none' })}.${segment(good)}.`),
    'alg HS256 with the client secret': saying(hmacIdToken),
    'alg ES256 over an RSA signature': saying((good) => idToken(good, { alg: 'ES256' })),
    'crit of something': saying((good) => idToken(good, { crit: ['x'], x: 1 })),
    'another key with the same kid': saying((good) => idToken(good, {}, foreign)),
    'a key in the token header': saying((good) => idToken(good, { jwk: foreign.jwk }, foreign)),
    'an unknown kid': saying((good) => idToken(good, { kid: 'two' })),
    'a changed payload': saying((good) => {
      const [header, , signature] = idToken(good).split('.')
      return `${header}.${segment({ ...good, sub: 'admin' })}.${signature}`
    }),
    'a weak key': {
      published: [weak.jwk],
      ...saying((good) => idToken(good, {}, weak)),
    },
    'an ID token that is not a JWT': saying(() => 'x'),
    'an error of OAuth': replying({ error: 'invalid_grant' }, 400),
  }
}

/** Responses by which a provider fails, and refuses nobody. */
const failures: Record<string, Partial<Script>> = {
  'no ID token': replying({ access_token: 'x', token_type: 'Bearer' }),
  'a null': replying('null'),
  'not JSON': replying('<html>'),
  'an empty body': replying(''),
  'a redirect': replying({}, 302),
  'too many requests': replying({}, 429),
  'an error about itself': replying({ error: 'temporarily_unavailable' }, 400),
  'no list of keys': { published: null as never },
  'keys that are no objects': { published: [1 as never] },
  'a key that cannot be read': { published: [{ kty: 'RSA', kid: 'one', alg: 'RS256' }] },
}

await t.test('an invalid response of the provider starts no session', async (t) => {
  const provider = await startHostileProvider(t)
  const invalid = invalidResponsesOf(provider)
  const valid = { ...provider.script }
  const names = Object.keys(invalid)
  t.ok(names.length >= 34, `${names.length} invalid responses`)
  const first = await build(t, provider)
  t.equal(await logIn(first, provider), '200', 'the valid response is accepted')
  for (const name of names) {
    Object.assign(provider.script, valid, invalid[name])
    // A new app, so that nothing of an earlier response is cached.
    const built = await build(t, provider)
    t.equal(await logIn(built, provider), REFUSED, name)
    t.same(
      built.events.map(({ type }) => type),
      ['sessions.login_failed'],
      `${name}: an event, and no session started`,
    )
  }
})

await t.test('a provider that fails is 503, and no failed login', async (t) => {
  const provider = await startHostileProvider(t)
  for (const status of [500, 502, 503]) {
    for (const body of ['', '<html>', { error: 'server_error' }]) {
      Object.assign(provider.script, replying(body, status))
      const built = await build(t, provider)
      const name = `${status} ${JSON.stringify(body)}`
      t.equal(await logIn(built, provider), '503 PARAPET_SESSIONS_UNAVAILABLE', name)
      t.same(built.events, [], name)
    }
  }
})

await t.test('an answer that the protocol does not know is 503, and no failed login', async (t) => {
  const provider = await startHostileProvider(t)
  const valid = { ...provider.script }
  for (const [name, failure] of Object.entries(failures)) {
    Object.assign(provider.script, valid, failure)
    const built = await build(t, provider)
    t.equal(await logIn(built, provider), DOWN, name)
    t.same(built.events, [], name)
  }
})

await t.test('an error with which a provider sends the browser back', async (t) => {
  const provider = await startHostileProvider(t)
  const answers: Record<string, string> = {
    server_error: DOWN,
    temporarily_unavailable: DOWN,
    access_denied: REFUSED,
    login_required: REFUSED,
  }
  for (const [error, answer] of Object.entries(answers)) {
    const built = await build(t, provider)
    const { url, cookie } = await begin(built.app)
    const query = provider.approve(url)
    query.delete('code')
    query.set('error', error)
    t.equal(await comeBack(built.app, query, cookie), answer, error)
    t.equal(
      built.events.length,
      answer === DOWN ? 0 : 1,
      'a failed login only where it was refused',
    )
  }
})

await t.test('a provider that moves its endpoints, or names none, is asked again', async (t) => {
  const provider = await startHostileProvider(t)
  const clock = createManualClock(Date.now())
  const { app } = await build(t, provider, {}, { clock })
  const honest = provider.script.metadata
  await begin(app)
  provider.script.metadata = { ...honest, authorization_endpoint: `${provider.issuer}/moved` }
  t.equal((await begin(app)).url.pathname, '/authorize')
  clock.advance(600_000)
  t.equal((await begin(app)).url.pathname, '/moved', 'after ten minutes')
  for (const endpoint of [undefined, 'javascript:alert(1)', 'no URL', 1]) {
    provider.script.metadata = { ...honest, authorization_endpoint: endpoint }
    const built = await build(t, provider)
    const reply = await built.app.inject('/auth/oidc/acme')
    t.equal(`${reply.statusCode} ${reply.json<{ code: string }>().code}`, DOWN, String(endpoint))
  }
})

await t.test('unusual but valid responses are accepted', async (t) => {
  const provider = await startHostileProvider(t)
  const { script, claims } = provider
  const now = Math.floor(Date.now() / 1000)
  const odd: [name: string, more: Json, header: Json][] = [
    ['an audience in an array', { aud: [clientId] }, {}],
    ['a second audience, and azp is this client', { aud: [clientId, 'x'], azp: clientId }, {}],
    ['the hash of its access token', { at_hash: halfHash('an access token') }, {}],
    ['no kid, where there is one key', {}, { kid: undefined }],
    ['a typ', {}, { typ: 'JWT' }],
    ['auth_time out of range', { auth_time: Number.MAX_SAFE_INTEGER }, {}],
    ['auth_time tomorrow', { auth_time: now + 86_400 }, {}],
    [
      '256 methods of 128 characters',
      { amr: Array.from({ length: 256 }, () => 'x'.repeat(128)) },
      {},
    ],
    ['amr as a string', { amr: 'pwd' }, {}],
    ['a nbf of now', { nbf: now }, {}],
  ]
  for (const [name, more, header] of odd) {
    script.answer = (nonce) => ({ body: tokens(idToken({ ...claims(nonce), ...more }, header)) })
    t.equal(await logIn(await build(t, provider), provider), '200', name)
  }
})

await t.test('the metadata of another provider are refused', async (t) => {
  const provider = await startHostileProvider(t)
  const { script } = provider
  const honest = script.metadata
  const { jwks_uri: _, ...keyless } = honest
  script.metadata = { ...honest, issuer: 'https://evil.example' }
  const { app } = await build(t, provider)
  const reply = await app.inject('/auth/oidc/acme')
  t.equal(reply.statusCode, 503)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_SESSIONS_UNAVAILABLE')
  script.metadata = honest
  t.equal((await app.inject('/auth/oidc/acme')).statusCode, 303, 'a failure is not cached')
  script.metadata = keyless
  t.not(await logIn(await build(t, provider), provider), '200', 'no keys')
})

await t.test('a callback for one provider is refused at another', async (t) => {
  const provider = await startHostileProvider(t)
  const { app } = await build(t, provider)
  const { url, cookie } = await begin(app)
  t.equal(await comeBack(app, provider.approve(url), cookie, 'other'), REFUSED, 'another callback')
  const mixed = async (change: (query: URLSearchParams) => void): Promise<string> => {
    const leg = await begin(app)
    const query = provider.approve(leg.url)
    change(query)
    return comeBack(app, query, leg.cookie)
  }
  t.equal(await mixed((query) => query.set('iss', provider.issuer)), '200', 'its own name')
  t.equal(await mixed((query) => query.set('iss', 'https://evil.example')), REFUSED, 'another iss')
  t.equal(await mixed((query) => query.append('code', 'x')), REFUSED, 'two codes')
  t.equal(await mixed((query) => query.append('state', 'x')), REFUSED, 'two states')
  t.equal(await mixed((query) => query.delete('state')), REFUSED, 'no state')
  t.equal(await mixed((query) => query.delete('code')), REFUSED, 'no code')
  t.equal(await mixed((query) => query.set('response', 'x.y.z')), REFUSED, 'a JWT response')
  t.equal(
    await mixed((query) => query.set('id_token', 'x')),
    REFUSED,
    'an ID token from the browser',
  )
  provider.script.metadata = {
    ...provider.script.metadata,
    authorization_response_iss_parameter_supported: true,
  }
  const strict = await build(t, provider)
  t.equal(await logIn(strict, provider), REFUSED, 'RFC 9207: no iss where one is promised')
})

await t.test('of concurrent callbacks with one state, one logs in', async (t) => {
  const provider = await startHostileProvider(t)
  const { app } = await build(t, provider)
  const { url, cookie } = await begin(app)
  const query = provider.approve(url)
  const answers = await Promise.all(Array.from({ length: 20 }, () => comeBack(app, query, cookie)))
  t.equal(answers.filter((answer) => answer === '200').length, 1)
  t.equal(answers.filter((answer) => answer === REFUSED).length, 19)
  t.equal(provider.requests.length, 1, 'the code was exchanged once')
})

await t.test('a login uses the current keys of the provider', async (t) => {
  const provider = await startHostileProvider(t)
  const built = await build(t, provider)
  t.equal(await logIn(built, provider), '200')
  const next = createSigningKey('two')
  provider.script.published = [key.jwk, next.jwk]
  provider.script.answer = (nonce) => ({
    body: tokens(idToken(provider.claims(nonce), {}, next)),
  })
  t.equal(await logIn(built, provider), '200', 'a new key works immediately')
  provider.script.published = [next.jwk]
  t.equal(await logIn(built, provider), '200')
  provider.script.answer = (nonce) => ({ body: tokens(idToken(provider.claims(nonce))) })
  t.equal(await logIn(built, provider), REFUSED, 'a key that was withdrawn')
})

await t.test('the client secret is sent in the way that the provider supports', async (t) => {
  const provider = await startHostileProvider(t)
  const show = async (methods?: readonly string[]) => {
    const { metadata } = provider.script
    provider.script.metadata = { ...metadata, token_endpoint_auth_methods_supported: methods }
    t.equal(await logIn(await build(t, provider), provider), '200')
    return provider.requests.at(-1)!
  }
  const basic = `Basic ${Buffer.from(
    `${clientId}:${new URLSearchParams({ s: clientSecret }).toString().slice(2)}`,
  ).toString('base64')}`
  for (const methods of [undefined, ['client_secret_basic'], ['private_key_jwt']]) {
    const { authorization, form } = await show(methods)
    t.equal(authorization, basic, String(methods))
    t.equal(form.has('client_secret'), false)
  }
  for (const methods of [['client_secret_post'], ['client_secret_basic', 'client_secret_post']]) {
    const { authorization, form } = await show(methods)
    t.equal(authorization, undefined, String(methods))
    t.equal(form.get('client_secret'), clientSecret)
  }
})

await t.test('a login continues while the secrets are rotated', async (t) => {
  const provider = await startHostileProvider(t)
  const store = createMemoryStore()
  const [before, after] = [
    await build(t, provider, {}, { store }),
    await build(t, provider, {}, { store, secrets: [generateSecret(), secret] }),
  ]
  const { url, cookie } = await begin(before.app)
  t.equal(await comeBack(after.app, provider.approve(url), cookie), '200')
})

await t.test('if the user lookup fails, the login is 503', async (t) => {
  const provider = await startHostileProvider(t)
  const built = await build(t, provider, {
    findUser: () => Promise.reject(new Error('the database is down')),
  })
  t.equal(await logIn(built, provider), DOWN)
})

await t.test('a user lookup that never answers is 503 after ten seconds', async (t) => {
  const provider = await startHostileProvider(t)
  const clock = createManualClock(Date.now())
  let answer: Promise<string> | undefined
  await new Promise<void>((asked) => {
    const findUser = () => {
      asked()
      return new Promise<null>(() => {})
    }
    answer = build(t, provider, { findUser }, { clock }).then((built) => logIn(built, provider))
  })
  clock.advance(10_000)
  t.equal(await answer, DOWN)
})

await t.test('a login must be finished within ten minutes of the given clock', async (t) => {
  const provider = await startHostileProvider(t)
  const clock = createManualClock(Date.now())
  const { app } = await build(t, provider, {}, { clock })
  const { url, cookie } = await begin(app)
  clock.advance(600_000)
  t.equal(await comeBack(app, provider.approve(url), cookie), REFUSED)
})

await t.test('an invalid response of the userinfo endpoint starts no session', async (t) => {
  const provider = await startHostileProvider(t)
  const { script } = provider
  const log = async (): Promise<[string, number]> => {
    const built = await build(t, provider, { userinfo: true })
    const answer = await logIn(built, provider)
    const started = built.events.filter(({ type }) => type === 'sessions.login_succeeded')
    return [answer, started.length]
  }
  t.same(await log(), ['200', 1], 'the valid response is accepted')
  const invalid: [name: string, response: Script['userinfo'], answer: string][] = [
    ['another subject', { body: { sub: 'mallory' } }, REFUSED],
    ['no subject', { body: {} }, DOWN],
    ['a subject that is a list', { body: { sub: ['alice'] } }, DOWN],
    ['a list', { body: [] }, DOWN],
    ['not JSON', { body: '<html>' }, DOWN],
    ['an error of OAuth', { status: 401, body: { error: 'invalid_token' } }, REFUSED],
    ['a redirect', { status: 302, body: {} }, DOWN],
    ['a failure', { status: 502, body: '' }, DOWN],
  ]
  for (const [name, response, answer] of invalid) {
    script.userinfo = response
    t.same(await log(), [answer, 0], name)
  }
  const { userinfo_endpoint: _, ...without } = script.metadata
  script.metadata = without
  t.same(await log(), [DOWN, 0], 'no such endpoint')
})

await t.test('the userinfo endpoint says nothing about the login', async (t) => {
  const provider = await startHostileProvider(t)
  const said = { acr: 'phr', amr: ['mfa'], auth_time: 1, nonce: 'x', groups: ['staff'] }
  provider.script.userinfo = { body: { sub: 'alice', ...said } }
  const trustedMethods = { amr: { mfa: ['mfa'] }, acr: { phr: ['hwk', 'mfa'] } }
  const seen: unknown[] = []
  const built = await build(t, provider, {
    userinfo: true,
    trustedMethods,
    findUser: async ({ claims }) => {
      seen.push(claims['groups'])
      return { id: 'u-1', roles: [] }
    },
  })
  t.equal(await logIn(built, provider), '200')
  t.same(seen, [['staff']])
  const [session] = await built.app.sessions.list('u-1')
  t.same(session!.amr, ['oidc'], 'a factor is what the signed ID token says')
  const levels = await build(t, provider, { userinfo: true, acrValues: ['phr'] })
  t.equal(await logIn(levels, provider), REFUSED, 'and so is a level')
})

await t.test('one source verifies no address of the other', async (t) => {
  const provider = await startHostileProvider(t)
  const show = async (signed: Json, loaded: Json): Promise<unknown[]> => {
    const seen: unknown[] = []
    provider.script.answer = (nonce) => ({
      body: tokens(idToken({ ...provider.claims(nonce), ...signed })),
    })
    provider.script.userinfo = { body: { sub: 'alice', ...loaded } }
    const built = await build(t, provider, {
      userinfo: true,
      findUser: async ({ claims: { email, email_verified, phone_number_verified: phone } }) => {
        seen.push(email, email_verified, ...(phone === undefined ? [] : [phone]))
        return { id: 'u-1', roles: [] }
      },
    })
    t.equal(await logIn(built, provider), '200')
    return seen
  }
  const [mine, theirs] = ['mallory@evil.example', 'admin@example.com']
  const verified = { email_verified: true }
  t.same(await show({ email: theirs }, { email: mine, ...verified }), [theirs, undefined])
  t.same(await show(verified, { email: theirs }), [theirs, undefined])
  t.same(await show({ email: theirs }, { email: theirs, ...verified }), [theirs, true], 'the same')
  t.same(await show({}, { email: theirs, ...verified }), [theirs, true])
  t.same(await show({ email: theirs, ...verified }, { email: mine }), [theirs, true])
  const phone = { phone_number: '1', phone_number_verified: true }
  t.same(await show({ phone_number: '2' }, phone), [undefined, undefined])
})

await t.test('a provider that ignores the age of a login is refused', async (t) => {
  const provider = await startHostileProvider(t)
  const now = Math.floor(Date.now() / 1000)
  const aged = (more: Json) => {
    provider.script.answer = (nonce) => ({
      body: tokens(idToken({ ...provider.claims(nonce), ...more })),
    })
    return build(t, provider, { maxAgeMs: 60_000 }).then((built) => logIn(built, provider))
  }
  t.equal(await aged({ auth_time: now - 30 }), '200')
  t.equal(await aged({ auth_time: now - 600 }), REFUSED, 'ten minutes ago')
  t.equal(await aged({}), REFUSED, 'no time')
  t.equal(await aged({ auth_time: String(now) }), REFUSED, 'a time that is a string')
})
