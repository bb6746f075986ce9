/** Single sign-on against a real OpenID provider on loopback. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import {
  allowInsecureProvider,
  sessions,
  type OidcProviderOptions,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import { Provider } from 'oidc-provider'
import t, { type Test } from 'tap'
import { baseOptions } from './build.ts'

const groups: Record<string, string[]> = { alice: ['staff', 'admins', 'constructor'], mallory: [] }
const clientSecret = 'a client secret that is long enough for a test'

/** A provider that logs in whoever the `login_hint` names, without asking. */
async function startProvider(
  t: Test,
  redirectUri: string,
): Promise<{ issuer: string; server: Server }> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'app', client_secret: clientSecret, redirect_uris: [redirectUri] }],
    claims: {
      openid: ['sub', 'groups', 'auth_time', 'amr'],
      email: ['email', 'email_verified'],
      profile: [],
    },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    cookies: { keys: ['a key for the cookies of the test'] },
    pkce: { required: () => true },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        groups: groups[id] ?? [],
        email: `${id}@example.com`,
        email_verified: true,
      }),
    }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  })
  const answer = provider.callback()
  server.on('request', (request, response) => {
    if (!request.url!.startsWith('/interaction/')) void answer(request, response)
    else void interact(request, response)
  })
  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session } = await provider.interactionDetails(request, response)
    if (params['login_hint'] === 'nobody') {
      return provider.interactionFinished(request, response, { error: 'access_denied' })
    }
    if (prompt.name === 'login') {
      return provider.interactionFinished(request, response, {
        login: { accountId: 'alice', amr: ['pwd', 'otp'] },
      })
    }
    const grant = new provider.Grant({ accountId: session!.accountId, clientId: 'app' })
    grant.addOIDCScope('openid profile email')
    return provider.interactionFinished(request, response, {
      consent: { grantId: await grant.save() },
    })
  }
  return { issuer, server }
}

const redirectUri = 'http://127.0.0.1:9/auth/oidc/acme/callback'

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

/** A browser at the provider: follows redirects and keeps its cookies until it is sent back to us. */
async function visit(url: string): Promise<URL> {
  const jar = new Map<string, string>()
  for (let hop = 0; hop < 10; hop++) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const reply = await fetch(url, { redirect: 'manual', headers: { cookie } })
    for (const line of reply.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      jar.set(name!, value!)
    }
    const next = new URL(reply.headers.get('location') ?? '', url)
    if (next.href.startsWith(redirectUri)) return next
    url = next.href
  }
  throw new Error('the provider never sent the browser back')
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

function finish(app: FastifyInstance, back: URL, cookie: string | undefined) {
  const cookies = cookie === undefined ? {} : { '__Host-single-sign-on': cookie }
  return app.inject({ url: back.pathname + back.search, cookies })
}

await t.test('a user logs in by a provider, and groups become roles', async (t) => {
  const { issuer } = await startProvider(t, redirectUri)
  const { app, events } = await build(t, issuer)
  const leg = await begin(app)
  t.match(Object.fromEntries(leg.url.searchParams), {
    response_type: 'code',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43}$/,
    nonce: /^[\w-]{43}$/,
  })
  const back = await visit(leg.url.href)
  const reply = await finish(app, back, leg.cookie)
  t.equal(reply.statusCode, 200, reply.body)
  t.equal(reply.headers['cache-control'], 'no-store')
  const token = await app.sessions.verify(reply.json<{ access_token: string }>().access_token)
  t.same(token.user, { id: 'acme:alice', roles: ['reader', 'admin'] })
  t.same(token.amr, ['pwd', 'otp'])
  t.match(events, [{ type: 'sessions.login_succeeded', principalId: 'acme:alice' }])

  const again = await finish(app, back, leg.cookie)
  t.same(
    [again.statusCode, again.json<{ code: string }>().code],
    [401, 'PARAPET_SESSIONS_SSO_REFUSED'],
    'once only',
  )
})

await t.test('with cookies the browser goes where it wanted to, and nowhere else', async (t) => {
  const { issuer } = await startProvider(t, redirectUri)
  const { app } = await build(t, issuer, { cookies: {} })
  const wishes = [
    ['/reports?page=2', '/reports?page=2'],
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['https://evil.example', '/'],
    ['/a\r\nset-cookie: x=y', '/'],
  ]
  for (const [wish, target] of wishes) {
    const leg = await begin(app, `?returnTo=${encodeURIComponent(wish!)}`)
    const reply = await finish(app, await visit(leg.url.href), leg.cookie)
    t.equal(reply.statusCode, 303, reply.body)
    t.equal(reply.headers.location, target, wish!)
    const names = reply.cookies.map(({ name }) => name)
    t.same(names, ['__Host-single-sign-on', '__Host-session', '__Host-refresh'])
  }
})

await t.test('a callback that is not of this browser is refused', async (t) => {
  const { issuer } = await startProvider(t, redirectUri)
  const { app, clock, events } = await build(t, issuer)
  const victim = await begin(app)
  const attacker = await begin(app)
  const back = await visit(attacker.url.href)
  const altered = (name: string, value: string) => {
    const url = new URL(back)
    url.searchParams.set(name, value)
    return url
  }
  const cases: [name: string, back: URL, cookie: string | undefined][] = [
    ['no cookie', back, undefined],
    ['the cookie of another login', back, victim.cookie],
    ['a forged cookie', back, `${attacker.cookie.slice(0, -1)}_`],
    ['a cookie of nonsense', back, 'a.b.c.d.e'],
    ['another state', altered('state', victim.url.searchParams.get('state')!), attacker.cookie],
    ['another issuer', altered('iss', 'https://evil.example'), attacker.cookie],
  ]
  for (const [name, url, cookie] of cases) {
    const reply = await finish(app, url, cookie)
    t.same(
      [reply.statusCode, reply.json<{ code: string }>().code],
      [401, 'PARAPET_SESSIONS_SSO_REFUSED'],
      name,
    )
  }
  const late = await begin(app)
  const lateBack = await visit(late.url.href)
  clock.advance(600_001)
  t.equal((await finish(app, lateBack, late.cookie)).statusCode, 401, 'too late')
  t.ok(events.every(({ type }) => type === 'sessions.login_failed'))
  const mixed = await begin(app)
  const other = await begin(app)
  const code = (await visit(other.url.href)).searchParams.get('code')!
  const injected = new URL(await visit(mixed.url.href))
  injected.searchParams.set('code', code)
  t.equal((await finish(app, injected, mixed.cookie)).statusCode, 401, 'a code of another login')
})

await t.test('what the provider or the application refuses is refused', async (t) => {
  const { issuer, server } = await startProvider(t, redirectUri)
  const { app } = await build(t, issuer, {}, { findUser: async () => null })
  const leg = await begin(app)
  t.equal((await finish(app, await visit(leg.url.href), leg.cookie)).statusCode, 401)
  const denied = await begin(app)
  denied.url.searchParams.set('login_hint', 'nobody')
  const back = await visit(denied.url.href)
  t.equal(back.searchParams.get('error'), 'access_denied')
  t.equal((await finish(app, back, denied.cookie)).statusCode, 401)
  t.equal((await app.inject('/auth/oidc/other')).statusCode, 404)
  t.equal((await app.inject('/auth/oidc/__proto__')).statusCode, 404)
  t.equal((await app.inject('/auth/oidc/other/callback')).statusCode, 404)

  const linked = await build(
    t,
    issuer,
    {},
    {
      findUser: async ({ claims, roles }) => ({ id: claims['email'] as string, roles }),
    },
  )
  const own = await begin(linked.app)
  const reply = await finish(linked.app, await visit(own.url.href), own.cookie)
  t.equal(reply.statusCode, 200, 'the application names the user')

  const gone = await begin(linked.app)
  const goneBack = await visit(gone.url.href)
  server.closeAllConnections()
  server.close()
  const down = await finish(linked.app, goneBack, gone.cookie)
  t.same(
    [down.statusCode, down.json<{ code: string }>().code],
    [503, 'PARAPET_SESSIONS_UNAVAILABLE'],
    'gone meanwhile',
  )
  const fresh = await build(t, issuer)
  const begun = await fresh.app.inject('/auth/oidc/acme')
  t.same(
    [begun.statusCode, begun.json<{ code: string }>().code],
    [503, 'PARAPET_SESSIONS_UNAVAILABLE'],
    'not there',
  )
})

await t.test('a provider over plain HTTP needs to be allowed', async (t) => {
  const { issuer } = await startProvider(t, redirectUri)
  const { app } = await build(t, issuer, {
    oidc: { acme: { issuer, clientId: 'app', clientSecret, redirectUri } },
  })
  t.equal((await app.inject('/auth/oidc/acme')).statusCode, 503)
})
