/** What is asked of a provider and how its answer comes, against a real one on loopback. */
import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import {
  allowInsecureProvider,
  generateKey,
  sessions,
  type KeyInput,
  type OidcProviderOptions,
  type ProviderProfile,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { baseOptions, eventsOf, refusalOf } from './build.ts'
import {
  clientSecret,
  comeBack,
  comeBackWithForm,
  level,
  redirectUri,
  startProvider,
  type Jar,
} from './real-provider.ts'

const SSO_REFUSED = [401, 'PARAPET_SESSIONS_SSO_REFUSED']
const callback = '/auth/oidc/acme/callback'

async function build(
  t: Test,
  provider: Partial<OidcProviderOptions> & { readonly issuer: string },
  more: Partial<SessionsOptions> = {},
  app = Fastify(),
) {
  t.after(() => app.close())
  const clock = createManualClock(Date.now())
  const acme = { clientId: 'app', redirectUri, [allowInsecureProvider]: true, ...provider } as const
  const secret = acme.privateKeyJwt === undefined ? { clientSecret } : {}
  const oidc = { acme: { ...secret, ...acme } }
  await app.register(sessions, { ...baseOptions, clock, prefix: '/auth', oidc, ...more })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events, clock }
}

interface Leg {
  readonly url: URL
  readonly cookies: Record<string, string>
  readonly reply: LightMyRequestResponse
}

async function begin(app: FastifyInstance, cookies: Record<string, string> = {}): Promise<Leg> {
  const reply = await app.inject({ url: '/auth/oidc/acme', cookies })
  if (reply.statusCode !== 303) throw new Error(reply.body)
  const { name, value } = reply.cookies[0]!
  return { url: new URL(String(reply.headers.location)), cookies: { [name]: value }, reply }
}

async function logIn(app: FastifyInstance, jar?: Jar): Promise<LightMyRequestResponse> {
  const { url, cookies } = await begin(app)
  const back = await comeBack(url.href, jar)
  return app.inject({ url: back.pathname + back.search, cookies })
}

const started = (events: readonly SecurityEvent[]) => eventsOf(events, 'sessions.login_succeeded')

/** The public half of a key as the provider knows it. */
function jwksOf({ pem, keyId }: KeyInput & { readonly keyId?: string }): {
  readonly keys: [JsonWebKey]
} {
  const jwk = createPublicKey(pem).export({ format: 'jwk' })
  return { keys: [{ ...jwk, use: 'sig', ...(keyId === undefined ? {} : { kid: keyId }) }] }
}

await t.test('a signed assertion in place of a secret', async (t) => {
  for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const) {
    const named = algorithm === 'ES256' ? { keyId: 'one' } : {}
    const privateKeyJwt = { ...generateKey(null, algorithm), ...named }
    const { issuer } = await startProvider(t, {
      client_secret: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: algorithm,
      jwks: jwksOf(privateKeyJwt),
    })
    const { app } = await build(t, { issuer, privateKeyJwt })
    t.equal((await logIn(app)).statusCode, 200, algorithm)
    if (algorithm === 'RS256') continue // Another key takes seconds.
    const foreign = await build(t, { issuer, privateKeyJwt: generateKey(null, algorithm) })
    t.same(refusalOf(await logIn(foreign.app)), SSO_REFUSED, `${algorithm}: another key`)
    t.same(started(foreign.events), [], 'no session started')
  }
})

await t.test('exactly one of a secret and a key, and the key is read at boot', async (t) => {
  const issuer = 'https://id.example.com'
  const privateKeyJwt = generateKey(null)
  const none = build(t, { issuer, clientSecret: undefined })
  await t.rejects(none, { message: /"oidc.acme" must have exactly one of .*, got none/ })
  const both = build(t, { issuer, clientSecret, privateKeyJwt })
  await t.rejects(both, { message: /"oidc.acme" must have exactly one of .*, got both/ })
  const pem = createPublicKey(privateKeyJwt.pem).export({ type: 'spki', format: 'pem' }).toString()
  const halves = build(t, { issuer, privateKeyJwt: { pem } })
  await t.rejects(halves, { code: 'PARAPET_SESSIONS_INVALID_KEY', message: /a public key/ })
})

await t.test('the userinfo endpoint describes the user', async (t) => {
  const { issuer } = await startProvider(t, {}, { isConform: true })
  const seen: ProviderProfile[] = []
  const findUser = async (profile: ProviderProfile) => {
    seen.push(profile)
    return { id: 'u-1', roles: [...profile.roles] }
  }
  const more = { roleClaim: 'groups', roleMap: { staff: ['reader'] }, findUser }
  t.equal((await logIn((await build(t, { issuer, ...more })).app)).statusCode, 200)
  const { app } = await build(t, { issuer, userinfo: true, ...more })
  t.equal((await logIn(app)).statusCode, 200)
  t.equal(seen[0]!.claims['email'], undefined, 'not in this ID token')
  t.match(seen[1], { subject: 'alice', roles: ['reader'], claims: { email: 'alice@example.com' } })
})

await t.test('what is asked of the provider is asked, and its answer is checked', async (t) => {
  const real = await startProvider(t)
  const { issuer, prompts } = real
  const jar: Jar = new Map()
  const plain = await build(t, { issuer })
  t.equal((await logIn(plain.app, jar)).statusCode, 200)
  t.equal((await logIn(plain.app, jar)).statusCode, 200)
  t.same(prompts, ['login', 'consent'], 'the provider knows the user the second time')

  const asking = await build(t, { issuer, prompt: ['login', 'consent'], acrValues: [level, 'x'] })
  const { url } = await begin(asking.app)
  const { prompt, acr_values } = Object.fromEntries(url.searchParams)
  t.same([prompt, acr_values], ['login consent', `${level} x`])
  real.acr = level
  const strong = await logIn(asking.app, jar)
  t.equal(strong.statusCode, 200, strong.body)
  t.same(prompts.slice(2), ['login', 'consent'], 'asked again')
  real.acr = undefined
  t.same(refusalOf(await logIn(asking.app, jar)), SSO_REFUSED, 'a login at no level')
  t.equal(started(asking.events).length, 1)

  const fresh = await build(t, { issuer, maxAgeMs: 0 })
  prompts.splice(0)
  t.equal((await logIn(fresh.app, jar)).statusCode, 200)
  t.same(prompts, ['login'], 'max_age=0 asks for the password again')
  const leg = await begin(fresh.app)
  leg.url.searchParams.set('max_age', '3600')
  const back = await comeBack(leg.url.href, jar)
  fresh.clock.advance(60_000)
  const slow = await fresh.app.inject({ url: back.pathname + back.search, cookies: leg.cookies })
  t.equal(slow.statusCode, 200, 'a minute at the provider makes no login too old')
})

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const ELSEWHERE = { ...FORM, 'sec-fetch-site': 'cross-site', origin: 'https://id.example.com' }

await t.test('a form of the provider finishes a login', async (t) => {
  const { issuer } = await startProvider(t)
  const app = Fastify()
  app.post('/other', { config: { sessions: 'ignored' } }, async () => 'ran')
  const { events } = await build(t, { issuer, responseMode: 'form_post' }, { cookies: {} }, app)
  const leg = await begin(app)
  t.match(leg.reply.cookies, [{ sameSite: 'None', secure: true, httpOnly: true, path: '/' }])
  t.equal(leg.url.searchParams.get('response_mode'), 'form_post')
  const form = await comeBackWithForm(leg.url.href)
  const send = (body: URLSearchParams, cookies: Record<string, string> = leg.cookies) =>
    app.inject({
      method: 'POST',
      url: callback,
      headers: ELSEWHERE,
      body: body.toString(),
      cookies,
    })
  t.same(refusalOf(await send(form, {})), SSO_REFUSED, 'another browser')
  const inUrl = await app.inject({ url: `${callback}?${form.toString()}`, cookies: leg.cookies })
  t.same(refusalOf(inUrl), SSO_REFUSED, 'a code in a URL')
  const other = await begin(app)
  const otherForm = await comeBackWithForm(other.url.href)
  otherForm.append('code', 'x')
  t.same(refusalOf(await send(otherForm, other.cookies)), SSO_REFUSED, 'two codes')
  t.same(started(events), [], 'no session started')

  const done = await send(form)
  t.equal(done.statusCode, 303, done.body)
  const names = done.cookies.filter(({ value }) => value !== '').map(({ name }) => name)
  t.same(names, ['__Host-session', '__Host-refresh'])
  t.same(refusalOf(await send(form)), SSO_REFUSED, 'a form works once')
  const json = { method: 'POST', url: callback, body: {}, cookies: leg.cookies } as const
  t.equal((await app.inject(json)).statusCode, 415, 'only a form')
  const long = new URLSearchParams({ state: 'x', code: 'x'.repeat(20_000) })
  t.equal((await send(long)).statusCode, 413)
  const elsewhere = { method: 'POST', url: '/other', headers: FORM, body: 'a=1' } as const
  t.equal((await app.inject(elsewhere)).statusCode, 415, 'no other route reads forms')
  t.equal(started(events).length, 1)
})

await t.test('a login by form replaces the session with which it began', async (t) => {
  const { issuer } = await startProvider(t)
  const app = Fastify()
  app.addContentTypeParser(FORM['content-type'], { parseAs: 'string' }, async () => ({ own: 1 }))
  const { events } = await build(t, { issuer, responseMode: 'form_post' }, { cookies: {} }, app)
  const former = await app.sessions.start({ id: 'u-1', roles: [] })
  const leg = await begin(app, { '__Host-refresh': former.refreshToken })
  const body = (await comeBackWithForm(leg.url.href)).toString()
  const reply = await app.inject({
    method: 'POST',
    url: callback,
    headers: ELSEWHERE,
    body,
    cookies: leg.cookies,
  })
  t.equal(reply.statusCode, 303, 'beside a parser of the application')
  await t.rejects(app.sessions.verify(former.accessToken))
  t.match(eventsOf(events, 'sessions.revoked'), [
    { sessionId: former.sessionId, details: { scope: 'session', reason: 'another login' } },
  ])
})

await t.test('a form is refused where the provider answers by redirects', async (t) => {
  const { issuer } = await startProvider(t)
  const { app, events } = await build(t, { issuer })
  const leg = await begin(app)
  const back = await comeBack(leg.url.href)
  const body = back.searchParams.toString()
  const form = { method: 'POST', url: callback, headers: FORM, body, cookies: leg.cookies } as const
  t.equal((await app.inject(form)).statusCode, 404)
  t.same(started(events), [])
})
