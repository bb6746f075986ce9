/** Single sign-on against a real OpenID provider on loopback. */
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import {
  allowInsecureProvider,
  sessions,
  type OidcProviderOptions,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { baseOptions, eventsOf, refusalOf } from './build.ts'
import { Browser, buildService } from './provider-visits.ts'
import { clientSecret, comeBack, redirectUri, startProvider } from './real-provider.ts'

const SSO_REFUSED = [401, 'PARAPET_SESSIONS_SSO_REFUSED']
const UNAVAILABLE = [503, 'PARAPET_SESSIONS_UNAVAILABLE']
const NOT_FOUND = [404, 'PARAPET_SESSIONS_NOT_FOUND']

async function build(
  t: Test,
  issuer: string,
  more: Partial<SessionsOptions> = {},
  provider: Partial<OidcProviderOptions> = {},
) {
  const clock = createManualClock(Date.now())
  const app = Fastify()
  t.after(() => app.close())
  await app.register(sessions, {
    ...baseOptions,
    clock,
    prefix: '/auth',
    oidc: {
      acme: {
        issuer,
        clientId: 'app',
        clientSecret,
        redirectUri,
        roleClaim: 'groups',
        roleMap: { staff: ['reader'], admins: ['admin', 'reader'] },
        [allowInsecureProvider]: true,
        ...provider,
      },
    },
    ...more,
  })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events, clock }
}

interface Leg {
  readonly url: URL
  readonly cookie: string
}

async function begin(app: FastifyInstance, query = ''): Promise<Leg> {
  const reply = await app.inject(`/auth/oidc/acme${query}`)
  if (reply.statusCode !== 303) throw new Error(reply.body)
  return { url: new URL(String(reply.headers.location)), cookie: reply.cookies[0]!.value }
}

/** The name of the cookie of the login that comes back with this address. */
function ssoCookie(back: URL): string {
  return `__Host-single-sign-on-${back.searchParams.get('state')!.slice(0, 22)}`
}

function finish(app: FastifyInstance, back: URL, cookie: string | undefined) {
  const cookies = cookie === undefined ? {} : { [ssoCookie(back)]: cookie }
  return app.inject({ url: back.pathname + back.search, cookies })
}

await t.test('a user logs in through a provider, and groups become roles', async (t) => {
  const { issuer } = await startProvider(t)
  const { app, events } = await build(t, issuer)
  const leg = await begin(app)
  t.match(Object.fromEntries(leg.url.searchParams), {
    response_type: 'code',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43}$/,
    nonce: /^[\w-]{43}$/,
  })
  const back = await comeBack(leg.url.href)
  const reply = await finish(app, back, leg.cookie)
  t.equal(reply.statusCode, 200, reply.body)
  t.equal(reply.headers['cache-control'], 'no-store')
  const token = await app.sessions.verify(reply.json<{ access_token: string }>().access_token)
  t.same(token.user, { id: 'acme:alice', roles: ['reader', 'admin'] })
  t.same(token.amr, ['oidc'], 'no method of the provider is trusted')
  t.match(events, [{ type: 'sessions.login_succeeded', principalId: 'acme:alice' }])

  const again = await finish(app, back, leg.cookie)
  t.same(refusalOf(again), SSO_REFUSED, 'a callback works once')
  t.equal(eventsOf(events, 'sessions.login_succeeded').length, 1, 'no second session started')
})

await t.test('with cookies, the browser returns only to a path of the service', async (t) => {
  const { issuer } = await startProvider(t)
  const { app } = await build(t, issuer, { cookies: {} })
  const requested = [
    ['/reports?page=2', '/reports?page=2'],
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['https://evil.example', '/'],
    ['/a\r\nset-cookie: x=y', '/'],
  ]
  for (const [path, target] of requested) {
    const leg = await begin(app, `?returnTo=${encodeURIComponent(path!)}`)
    const back = await comeBack(leg.url.href)
    const reply = await finish(app, back, leg.cookie)
    t.equal(reply.statusCode, 303, reply.body)
    t.equal(reply.headers.location, target, path!)
    const names = reply.cookies.map(({ name }) => name)
    t.same(names, [ssoCookie(back), '__Host-session', '__Host-refresh'])
  }
})

await t.test('a callback of another browser or another login is refused', async (t) => {
  const { issuer } = await startProvider(t)
  const { app, clock, events } = await build(t, issuer)
  const victim = await begin(app)
  const attacker = await begin(app)
  const back = await comeBack(attacker.url.href)
  const altered = (name: string, value: string) => {
    const url = new URL(back)
    url.searchParams.set(name, value)
    return url
  }
  const cases: [name: string, back: URL, cookie: string | undefined][] = [
    ['no cookie', back, undefined],
    ['the cookie of another login', back, victim.cookie],
    ['a forged cookie', back, `${attacker.cookie.slice(0, -1)}_`],
    ['a malformed cookie', back, 'a.b.c.d.e'],
    ['another state', altered('state', victim.url.searchParams.get('state')!), attacker.cookie],
    ['another issuer', altered('iss', 'https://evil.example'), attacker.cookie],
  ]
  for (const [name, url, cookie] of cases) {
    const reply = await finish(app, url, cookie)
    t.same(refusalOf(reply), SSO_REFUSED, name)
  }
  const late = await begin(app)
  const lateBack = await comeBack(late.url.href)
  clock.advance(600_001)
  t.same(refusalOf(await finish(app, lateBack, late.cookie)), SSO_REFUSED, 'after ten minutes')
  const mixed = await begin(app)
  const other = await begin(app)
  const code = (await comeBack(other.url.href)).searchParams.get('code')!
  const injected = new URL(await comeBack(mixed.url.href))
  injected.searchParams.set('code', code)
  const reply = await finish(app, injected, mixed.cookie)
  t.same(refusalOf(reply), SSO_REFUSED, 'the code of another login')
  t.ok(
    events.every(({ type }) => type === 'sessions.login_failed'),
    'no session started',
  )
})

await t.test(
  'a login that the provider or the application refuses starts no session',
  async (t) => {
    const { issuer } = await startProvider(t)
    const { app, events } = await build(t, issuer, {}, { findUser: async () => null })
    const leg = await begin(app)
    const refusedByApp = await finish(app, await comeBack(leg.url.href), leg.cookie)
    t.same(refusalOf(refusedByApp), SSO_REFUSED, 'refused by the application')
    const denied = await begin(app)
    denied.url.searchParams.set('login_hint', 'nobody')
    const back = await comeBack(denied.url.href)
    t.equal(back.searchParams.get('error'), 'access_denied')
    const refusedByProvider = await finish(app, back, denied.cookie)
    t.same(refusalOf(refusedByProvider), SSO_REFUSED, 'refused by the provider')
    t.same(eventsOf(events, 'sessions.login_succeeded'), [], 'no session started')
    for (const path of ['other', '__proto__', 'other/callback']) {
      t.same(refusalOf(await app.inject(`/auth/oidc/${path}`)), NOT_FOUND, path)
    }
  },
)

await t.test('the application maps the profile to a user', async (t) => {
  const { issuer } = await startProvider(t)

  const linked = await build(
    t,
    issuer,
    {},
    {
      findUser: async ({ claims, roles }) => ({ id: claims['email'] as string, roles }),
    },
  )
  const own = await begin(linked.app)
  const reply = await finish(linked.app, await comeBack(own.url.href), own.cookie)
  t.equal(reply.statusCode, 200, 'the user of the application')
  const { access_token } = reply.json<{ access_token: string }>()
  t.equal((await linked.app.sessions.verify(access_token)).user.id, 'alice@example.com')
})

await t.test('methods and levels of a provider count as they are mapped', async (t) => {
  const { issuer } = await startProvider(t)
  const trustedMethods = { amr: { otp: ['otp', 'mfa'], constructor: ['hwk'] } }
  const asked: string[] = []
  const secondFactor = {
    methodsOf: async (id: string) => {
      asked.push(id)
      return ['totp']
    },
    verify: async () => ({ amr: ['otp'] }),
  }
  const trusted = await build(t, issuer, { secondFactor }, { trustedMethods })
  const leg = await begin(trusted.app)
  const reply = await finish(trusted.app, await comeBack(leg.url.href), leg.cookie)
  const { access_token } = reply.json<{ access_token: string }>()
  t.same((await trusted.app.sessions.verify(access_token)).amr, ['otp', 'mfa'])
  t.same(asked, [], 'the provider has checked a second factor')

  const plain = await build(t, issuer, { secondFactor })
  const other = await begin(plain.app)
  const pending = await finish(plain.app, await comeBack(other.url.href), other.cookie)
  t.match([pending.statusCode, pending.json()], [202, { methods: ['totp'], expires_in: 300 }])
  t.same(asked, ['acme:alice'])
  t.same(eventsOf(plain.events, 'sessions.login_succeeded'), [], 'no session started')
})

await t.test('two logins of one browser at the provider both succeed', async (t) => {
  const { issuer } = await startProvider(t)
  const { app } = await build(t, issuer, { cookies: {} })
  const [one, two] = [await begin(app), await begin(app)]
  const jar: Record<string, string> = {}
  for (const leg of [one, two]) jar[ssoCookie(leg.url)] = leg.cookie
  t.equal(Object.keys(jar).length, 2, 'each has a cookie of its own')
  for (const leg of [two, one]) {
    const back = await comeBack(leg.url.href)
    const reply = await app.inject({ url: back.pathname + back.search, cookies: jar })
    t.equal(reply.statusCode, 303, reply.body)
    const cleared = reply.cookies.filter(({ value }) => value === '').map(({ name }) => name)
    t.same(cleared, [ssoCookie(leg.url)], 'a callback deletes only its own cookie')
  }
  const names = Array.from({ length: 6 }, (_, n) => `__Host-single-sign-on-${n}`)
  const cookies = Object.fromEntries(names.map((name) => [name, 'x']))
  const seventh = await app.inject({ url: '/auth/oidc/acme', cookies })
  const stale = seventh.cookies.filter(({ value }) => value === '').map(({ name }) => name)
  t.same(stale, names.slice(0, 3), 'the oldest are deleted, so that the header stays small')
})

await t.test('with strict cookies, a login ends with a page that forwards', async (t) => {
  const { issuer } = await startProvider(t)
  const { app } = await build(t, issuer, { cookies: { sameSite: 'strict' } })
  const leg = await begin(app, `?returnTo=${encodeURIComponent("/a?b=1&c='2'")}`)
  const reply = await finish(app, await comeBack(leg.url.href), leg.cookie)
  t.equal(reply.statusCode, 200)
  t.match(reply.headers['content-type'], 'text/html')
  t.match(reply.body, 'content="0;url=/a?b=1&#38;c=&#39;2&#39;"')
  t.ok(reply.cookies.every(({ sameSite, value }) => value === '' || sameSite === 'Strict'))
  const lax = await build(t, issuer, { cookies: {} })
  const own = await begin(lax.app)
  const redirected = await finish(lax.app, await comeBack(own.url.href), own.cookie)
  t.equal(redirected.statusCode, 303, 'without sameSite, cookies are lax')
  t.ok(redirected.cookies.every(({ sameSite }) => sameSite === 'Lax'))
})

await t.test('with strict cookies, a login ends the session that it replaces', async (t) => {
  const { issuer } = await startProvider(t)
  const { app } = await buildService(t, { issuer }, { cookies: { sameSite: 'strict' } })
  const browser = new Browser(app)
  await browser.logIn('ada')
  const before = browser.cookies['__Host-session']!
  const start = await browser.send('GET', '/auth/oidc/acme')
  const back = await comeBack(String(start.headers.location), browser.jar)
  // The browser sends no strict cookie with a redirect of another site.
  for (const name of ['__Host-session', '__Host-refresh']) delete browser.cookies[name]
  t.equal((await browser.land(back)).statusCode, 200)
  t.equal((await browser.me()).id, 'acme:alice')
  await t.rejects(app.sessions.verify(before), { code: 'PARAPET_SESSIONS_UNAUTHENTICATED' })
})

await t.test('the page of the second step may have a query', async (t) => {
  const { issuer } = await startProvider(t)
  const secondFactor = {
    methodsOf: async () => ['totp'],
    verify: async () => ({ amr: ['otp'] }),
    page: '/login?step=2',
  }
  const { app } = await buildService(t, { issuer }, { secondFactor })
  const landed = await new Browser(app).signOn()
  t.equal(landed.headers.location, '/login?step=2&returnTo=%2F')
})

await t.test('a provider that does not answer is 503', async (t) => {
  const { issuer, server } = await startProvider(t)
  const known = await build(t, issuer)
  const gone = await begin(known.app)
  const goneBack = await comeBack(gone.url.href)
  server.closeAllConnections()
  server.close()
  const down = await finish(known.app, goneBack, gone.cookie)
  t.same(refusalOf(down), UNAVAILABLE, 'at the end of a login')
  const fresh = await build(t, issuer)
  const begun = await fresh.app.inject('/auth/oidc/acme')
  t.same(refusalOf(begun), UNAVAILABLE, 'at the start of a login')
  const sessionsOf = (built: typeof known) => eventsOf(built.events, 'sessions.login_succeeded')
  t.same([sessionsOf(known), sessionsOf(fresh)], [[], []], 'no session started')
})

await t.test('a provider over plain HTTP is refused unless it is allowed', async (t) => {
  const { issuer } = await startProvider(t)
  const { app } = await build(t, issuer, {
    oidc: { acme: { issuer, clientId: 'app', clientSecret, redirectUri } },
  })
  t.same(refusalOf(await app.inject('/auth/oidc/acme')), UNAVAILABLE)
})
