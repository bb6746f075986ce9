/** A logout here that is one at the provider as well, against a real one. */
import { createMemoryStore } from '@parapet/kit'
import { generateSecret, type OidcProviderOptions, type SessionsOptions } from '@parapet/sessions'
import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { eventsOf, refusalOf, secret } from './build.ts'
import { clientSecret as hostileSecret, startHostileProvider } from './hostile-provider.ts'
import { Browser, buildService } from './provider-visits.ts'
import { loggedOutUri, logOutAt, startProvider } from './real-provider.ts'

async function start(
  t: Test,
  provider: Partial<OidcProviderOptions> = {},
  more: Partial<SessionsOptions> = {},
) {
  const real = await startProvider(t, { post_logout_redirect_uris: [loggedOutUri] })
  const { issuer } = real
  const built = await buildService(
    t,
    { issuer, postLogoutRedirectUri: loggedOutUri, ...provider },
    more,
  )
  const browser = new Browser(built.app)
  t.equal((await browser.signOn()).statusCode, 303)
  return { ...built, real, browser }
}

const urlOf = (reply: LightMyRequestResponse) => new URL(reply.json<{ url: string }>().url)

await t.test('a logout ends both sessions, and the browser comes back to its page', async (t) => {
  const { real, browser, events } = await start(t)
  const { refresh } = { refresh: browser.cookies['__Host-refresh']! }
  const out = await browser.send('POST', '/auth/logout/provider', { returnTo: '/bye?a=1' })
  t.equal(out.statusCode, 200)
  t.same(Object.keys(browser.cookies), [], 'the browser forgot the tokens')
  t.match(eventsOf(events, 'sessions.revoked'), [{ details: { reason: 'logout' } }])
  const url = urlOf(out)
  t.equal(url.origin, real.issuer)
  t.equal(url.searchParams.get('client_id'), 'app')
  t.notOk(url.searchParams.has('id_token_hint'), 'no token in a URL unless it is asked for')
  const back = await logOutAt(url.href, browser.jar)
  t.ok(back instanceof URL, 'the provider sends the browser back')
  const landed = await browser.land(back as URL)
  t.same([landed.statusCode, landed.headers.location], [303, '/bye?a=1'])
  browser.cookies['__Host-refresh'] = refresh
  t.equal((await browser.send('POST', '/auth/refresh')).statusCode, 401, 'the session has ended')
  real.prompts.length = 0
  await browser.signOn()
  t.ok(real.prompts.includes('login'), 'the provider asks who it is')
})

await t.test('the ID token is kept encrypted, and sent once where it is asked for', async (t) => {
  const store = createMemoryStore()
  const kept: string[] = []
  const set = store.set.bind(store)
  store.set = async (key, value, ttl) => {
    if (key.startsWith('sessions:oidc:id-token:')) kept.push(value)
    return set(key, value, ttl)
  }
  const { real, browser, app } = await start(t, { keepIdToken: true }, { store })
  t.equal(kept.length, 1)
  t.notOk(kept[0]!.includes('eyJ'), 'it is encrypted')
  const { sessionId } = await browser.me()
  const lifted = await app.sessions.elevate(sessionId, { amr: ['otp'] })
  browser.cookies['__Host-session'] = lifted.accessToken
  browser.cookies['__Host-refresh'] = lifted.refreshToken
  const url = urlOf(await browser.send('POST', '/auth/logout/provider'))
  const [, payload = ''] = url.searchParams.get('id_token_hint')!.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string }
  t.equal(claims.sub, 'alice', 'also after the session got a new id')
  t.ok((await logOutAt(url.href, browser.jar)) instanceof URL, 'the provider accepts it')
  const again = await browser.send('POST', '/auth/logout/provider')
  t.equal(again.json<{ url: string }>().url, '/', 'there is no session any more')
  t.equal(real.account, 'alice')
})

await t.test('a secret is rotated, and removed, between login and logout', async (t) => {
  const store = createMemoryStore()
  const next = generateSecret()
  const { real, browser } = await start(t, { keepIdToken: true }, { store })
  const options = {
    issuer: real.issuer,
    postLogoutRedirectUri: loggedOutUri,
    keepIdToken: true,
  }
  const rotated = await buildService(t, options, { store, secrets: [next, secret] })
  const later = new Browser(rotated.app)
  Object.assign(later.cookies, browser.cookies)
  const url = urlOf(await later.send('POST', '/auth/logout/provider'))
  t.ok(url.searchParams.has('id_token_hint'))
})

await t.test('without a logout at the provider, the logout is local', async (t) => {
  const hostile = await startHostileProvider(t)
  const options = { issuer: hostile.issuer, clientSecret: hostileSecret, keepIdToken: true }
  const { app, clock } = await buildService(t, options)
  const honest = hostile.script.metadata
  for (const end_session_endpoint of [undefined, 'javascript:alert(1)', 'no URL', 7, 'data:,x']) {
    hostile.script.metadata = { ...honest, end_session_endpoint }
    clock.advance(600_000)
    const browser = new Browser(app)
    const begun = await browser.send('GET', '/auth/oidc/acme')
    const query = hostile.approve(new URL(String(begun.headers.location)))
    await browser.land(new URL(`http://x/auth/oidc/acme/callback?${query.toString()}`))
    const out = await browser.send('POST', '/auth/logout/provider', { returnTo: '/bye' })
    t.same(out.json(), { url: '/bye' }, String(end_session_endpoint))
    t.same(browser.cookies, {})
  }
  const pass = new Browser(app)
  await pass.logIn('ada')
  const out = await pass.send('POST', '/auth/logout/provider', { returnTo: '//evil.example' })
  t.same(out.json(), { url: '/' }, 'a session of a password, and a path of another host')
  t.same(pass.cookies, {})
})

await t.test('a provider that is down does not keep a user logged in', async (t) => {
  const { real, browser, clock, app } = await start(t)
  const grant = browser.cookies['__Host-session']!
  real.server.closeAllConnections()
  real.server.close()
  clock.advance(600_000)
  const out = await browser.send('POST', '/auth/logout/provider')
  t.same(out.json(), { url: '/' })
  await t.rejects(app.sessions.verify(grant), { code: 'PARAPET_SESSIONS_UNAUTHENTICATED' })
})

await t.test('the way back leads to a path of this service only', async (t) => {
  const { browser, clock } = await start(t)
  const url = urlOf(await browser.send('POST', '/auth/logout/provider', { returnTo: '/bye' }))
  const state = url.searchParams.get('state')!
  const back = async (value: string): Promise<string> => {
    const reply = await browser.send(
      'GET',
      `/auth/oidc/acme/logged-out?state=${encodeURIComponent(value)}`,
    )
    return `${reply.statusCode} ${reply.headers.location}`
  }
  t.equal(await back(state), '303 /bye')
  const evil = Buffer.from('//evil.example').toString('base64url')
  const [time, , tag] = state.split('.')
  for (const forged of [
    '',
    'x',
    `${time}.${evil}.${tag}`,
    `${state}x`,
    `${time}..`,
    '\ud83d\ude00',
  ]) {
    t.equal(await back(forged), '303 /', forged)
  }
  t.equal(await back('x'.repeat(2049)), '400 undefined')
  clock.advance(600_000)
  t.equal(await back(state), '303 /', 'ten minutes later')
  const unknown = await browser.send('GET', '/auth/oidc/nobody/logged-out')
  t.same(refusalOf(unknown), [404, 'PARAPET_SESSIONS_NOT_FOUND'])
})

await t.test('another site cannot log a user out', async (t) => {
  const { browser, app } = await start(t)
  const out = await app.inject({
    method: 'POST',
    url: '/auth/logout/provider',
    cookies: browser.cookies,
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
  })
  t.same(refusalOf(out), [403, 'PARAPET_SESSIONS_CROSS_SITE'])
  t.equal((await browser.me()).id, 'acme:alice')
})
