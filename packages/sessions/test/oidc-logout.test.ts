/** Back-channel logout: a provider ends the sessions that came from it. */
import { createMemoryStore, type SecurityEvent } from '@parapet/kit'
import {
  allowInsecureProvider,
  sessions,
  type OidcProviderOptions,
  type ProviderProfile,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { baseOptions, eventsOf } from './build.ts'
import type { Json } from './forge.ts'
import {
  clientId,
  clientSecret as hostileSecret,
  createSigningKey,
  hmacIdToken,
  idToken,
  key,
  startHostileProvider,
  tokens,
  type HostileProvider,
} from './hostile-provider.ts'
import { clientSecret, comeBack, logoutUri, redirectUri, startProvider } from './real-provider.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

async function build(
  t: Test,
  provider: Partial<OidcProviderOptions> & { readonly issuer: string },
  more: Partial<SessionsOptions> = {},
) {
  const app = Fastify()
  t.after(() => app.close())
  const acme = { clientId: 'app', redirectUri, [allowInsecureProvider]: true, ...provider } as const
  const oidc = { acme, other: { ...acme, redirectUri: redirectUri.replace('acme', 'other') } }
  await app.register(sessions, { ...baseOptions, prefix: '/auth', oidc, ...more })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events }
}

async function report(app: FastifyInstance, body: string, name = 'acme'): Promise<string> {
  const url = `/auth/oidc/${name}/backchannel-logout`
  const reply = await app.inject({ method: 'POST', url, headers: FORM, body })
  if (reply.statusCode === 200) return '200'
  return `${reply.statusCode} ${reply.json<{ code: string }>().code}`
}

async function isAlive(app: FastifyInstance, accessToken: string): Promise<boolean> {
  return app.sessions.verify(accessToken).then(
    () => true,
    () => false,
  )
}

const REFUSED = '400 PARAPET_SESSIONS_LOGOUT_REFUSED'
const DOWN = '503 PARAPET_SESSIONS_UNAVAILABLE'

await t.test(
  'a real provider ends the sessions of one of its sessions, or of a user',
  async (t) => {
    const uri = { backchannel_logout_uri: logoutUri, backchannel_logout_session_required: true }
    const real = await startProvider(t, uri)
    const { reports: received } = real
    const sids: string[] = []
    const findUser = async ({ subject, claims }: ProviderProfile) => {
      sids.push(claims['sid'] as string)
      return { id: subject, roles: [] }
    }
    const { app, events } = await build(t, { issuer: real.issuer, clientSecret, findUser })
    const logIn = async (account: string): Promise<string> => {
      real.account = account
      const start = await app.inject('/auth/oidc/acme')
      const back = await comeBack(String(start.headers.location))
      const cookies = { [start.cookies[0]!.name]: start.cookies[0]!.value }
      const reply = await app.inject({ url: back.pathname + back.search, cookies })
      return reply.json<{ access_token: string }>().access_token
    }
    const all = [await logIn('alice'), await logIn('alice'), await logIn('mallory')]
    const alive = () => Promise.all(all.map((token) => isAlive(app, token)))
    t.same([await alive(), new Set(sids).size], [[true, true, true], 3])
    await real.reportLogout('alice', sids[0])
    t.equal(await report(app, received[0]!), '200')
    t.same(await alive(), [false, true, true], 'exactly the session that came by this sid')
    t.equal(await report(app, received[0]!), REFUSED, 'a token works once')
    t.match(eventsOf(events, 'sessions.revoked'), [
      { principalId: 'alice', details: { reason: 'logout at the provider' } },
    ])
  },
)

async function startHostile(t: Test, more: Partial<SessionsOptions> = {}) {
  const provider = await startHostileProvider(t)
  const built = await build(t, { issuer: provider.issuer, clientSecret: hostileSecret }, more)
  const { app } = built
  const begin = async (claims: Json = {}): Promise<() => Promise<LightMyRequestResponse>> => {
    const start = await app.inject('/auth/oidc/acme')
    const query = provider.approve(new URL(String(start.headers.location)))
    const { name, value } = start.cookies[0]!
    provider.script.answer = (nonce) => ({
      body: tokens(idToken({ ...provider.claims(nonce), ...claims })),
    })
    const url = `/auth/oidc/acme/callback?${query.toString()}`
    return () => app.inject({ url, cookies: { [name]: value } })
  }
  const logIn = async (claims: Json = {}) =>
    (await (await begin(claims))()).json<{ access_token: string; refresh_token: string }>()
  return { ...built, provider, begin, logIn }
}

let count = 0
/** The claims of a valid logout token. */
function logoutOf({ issuer }: HostileProvider, more: Json = {}): Json {
  const now = Math.floor(Date.now() / 1000)
  const base = { iss: issuer, aud: clientId, iat: now, exp: now + 120, jti: `jti-${count++}` }
  return { ...base, sub: 'alice', events: { [EVENT]: {} }, ...more }
}

const form = (token: string) => new URLSearchParams({ logout_token: token }).toString()
const typ = { typ: 'logout+jwt' }

await t.test('an invalid logout token ends nothing', async (t) => {
  const { app, provider, logIn, events } = await startHostile(t)
  const { access_token } = await logIn()
  const now = Math.floor(Date.now() / 1000)
  const valid = (more: Json = {}) => logoutOf(provider, more)
  const without = (name: string) =>
    Object.fromEntries(Object.entries(valid()).filter(([key]) => key !== name))
  const invalid: Record<string, string> = {
    'another issuer': idToken(valid({ iss: 'https://evil.example' }), typ),
    'another audience': idToken(valid({ aud: 'other' }), typ),
    'a nonce: it is an ID token': idToken(valid({ nonce: 'x' }), typ),
    'a nonce that is null': idToken(valid({ nonce: null }), typ),
    'no events': idToken(without('events'), typ),
    'another event': idToken(valid({ events: { 'http://example.com': {} } }), typ),
    'an event that is no object': idToken(valid({ events: { [EVENT]: true } }), typ),
    'events as a list': idToken(valid({ events: [EVENT] }), typ),
    'neither sub nor sid': idToken(without('sub'), typ),
    'a sub that is a number': idToken(valid({ sub: 1 }), typ),
    'a sid that is a number': idToken(valid({ sid: 1 }), typ),
    'no jti': idToken(without('jti'), typ),
    'no iat': idToken(without('iat'), typ),
    'no exp': idToken(without('exp'), typ),
    'an expired token': idToken(valid({ exp: now - 60 }), typ),
    'an old token': idToken(valid({ iat: now - 3600, exp: now + 60 }), typ),
    'a token of the future': idToken(valid({ iat: now + 600, exp: now + 900 }), typ),
    'another type': idToken(valid(), { typ: 'at+jwt' }),
    'another key with the same kid': idToken(valid(), typ, createSigningKey('one')),
    'an unknown key': idToken(valid(), typ, createSigningKey('two')),
    'an HMAC with the client secret': hmacIdToken(valid()),
    'no JWT': 'x',
    'a long text': 'x'.repeat(9000),
  }
  for (const [name, token] of Object.entries(invalid)) {
    t.equal(await report(app, form(token)), REFUSED, name)
  }
  t.equal(await report(app, ''), REFUSED, 'no token')
  const two = `${form(idToken(valid(), typ))}&${form(idToken(valid(), typ))}`
  t.equal(await report(app, two), REFUSED, 'two tokens')
  const url = '/auth/oidc/acme/backchannel-logout'
  const body = { logout_token: idToken(valid(), typ) }
  t.equal((await app.inject({ method: 'POST', url, body })).statusCode, 415, 'JSON')
  t.equal(await report(app, '', 'nobody'), '404 PARAPET_SESSIONS_NOT_FOUND')
  t.ok(await isAlive(app, access_token), 'the session lives')
  t.same(eventsOf(events, 'sessions.revoked'), [])
  t.equal(await report(app, form(idToken(valid(), typ)), 'other'), '200', 'of another provider')
  t.ok(await isAlive(app, access_token), 'sessions of this one live')
  t.equal(await report(app, form(idToken(valid()))), '200', 'the valid token, also without a type')
  t.notOk(await isAlive(app, access_token))
})

await t.test('a logout ends what came before it, and nothing else', async (t) => {
  const { app, provider, logIn, begin } = await startHostile(t)
  const now = Math.floor(Date.now() / 1000)
  const own = await app.sessions.start({ id: 'acme:alice', roles: [] })
  // Fixed, because a busy machine may take seconds.
  const iat = now
  const [a, b] = [await logIn({ sid: 'a', iat }), await logIn({ sid: 'b', iat })]
  const bob = await logIn({ sub: 'bob', sid: 'c', iat })
  const tokensOf = [own.accessToken, a.access_token, b.access_token, bob.access_token]
  const alive = () => Promise.all(tokensOf.map((token) => isAlive(app, token)))
  const wrong = logoutOf(provider, { sub: 'bob', sid: 'a' })
  t.equal(await report(app, form(idToken(wrong, typ))), '200')
  t.same(await alive(), [true, true, true, true], 'the sid of another subject')
  const early = logoutOf(provider, { iat: now - 60 })
  t.equal(await report(app, form(idToken(early, typ))), '200')
  t.same(await alive(), [true, true, true, true], 'they began after this logout')

  const waiting = await begin({ iat })
  const elevated = await app.sessions.elevate(
    (await app.sessions.verify(a.access_token)).sessionId,
    { amr: ['otp'] },
  )
  const logout = logoutOf(provider, { iat: now + 5 })
  t.equal(await report(app, form(idToken(logout, typ))), '200')
  t.same(await alive(), [true, false, false, true], 'all of the subject that came from there')
  t.notOk(await isAlive(app, elevated.accessToken), 'under its new id as well')
  const late = await waiting()
  t.equal(late.statusCode, 401, 'a login whose ID token is older than the logout')
  t.equal(late.json<{ code: string }>().code, 'PARAPET_SESSIONS_SSO_REFUSED')
  const again = await logIn({ iat: now + 6 })
  t.ok(await isAlive(app, again.access_token), 'a later login')
})

await t.test('a logout waits for the keys and the store', async (t) => {
  const store = createMemoryStore()
  const { app, provider, logIn } = await startHostile(t, { store })
  const { access_token, refresh_token } = await logIn({ sid: 's' })
  const published = provider.script.published
  const token = form(idToken(logoutOf(provider, { sid: 's' }), typ))
  const broken = { kty: 'RSA', kid: 'one', alg: 'RS256' }
  for (const keys of [null, 'x', [1], [broken], [{ ...broken, n: 'A', e: 'AQAB' }]]) {
    provider.script.published = keys as never
    const other = await build(
      t,
      { issuer: provider.issuer, clientSecret: hostileSecret },
      { store },
    )
    t.equal(await report(other.app, token), DOWN, `keys: ${JSON.stringify(keys)}`)
  }
  provider.script.published = null as never
  t.equal(await report(app, token), DOWN, 'the provider may send it again')
  t.ok(await isAlive(app, access_token))
  provider.script.published = published
  const fresh = await build(t, { issuer: provider.issuer, clientSecret: hostileSecret }, { store })
  t.equal(await report(fresh.app, token), '200', 'at another instance, the same token')
  const refresh = { method: 'POST', url: '/auth/refresh', body: { refresh_token } } as const
  t.equal((await app.inject(refresh)).statusCode, 401)
})

await t.test('what is no token is refused before the provider is asked', async (t) => {
  const { app } = await build(t, { issuer: 'http://127.0.0.1:9', clientSecret })
  for (const body of ['', form('x'), form('a.b'), form(`${'x'.repeat(9000)}.y.z`), 'other=1']) {
    t.equal(await report(app, body), REFUSED, body.slice(0, 30))
  }
  t.equal(await report(app, form('a.b.c')), DOWN, 'a token needs the provider')
})

await t.test('a provider may move its keys', async (t) => {
  const { app, provider, logIn } = await startHostile(t)
  const before = form(idToken(logoutOf(provider), typ))
  t.equal(await report(app, before), '200')
  const next = createSigningKey('two')
  provider.script.published = [key.jwk, next.jwk]
  provider.script.metadata = { ...provider.script.metadata, jwks_uri: `${provider.issuer}/jwks?2` }
  await logIn()
  t.equal(await report(app, form(idToken(logoutOf(provider), typ, next))), '200')
})
