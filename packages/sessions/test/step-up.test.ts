/** A step-up at a provider, against a real one and one that lies. */
import type { OidcProviderOptions, SessionsOptions } from '@parapet/sessions'
import t, { type Test } from 'tap'
import { eventsOf, refusalOf } from './build.ts'
import type { Json } from './forge.ts'
import {
  clientSecret as hostileSecret,
  idToken,
  startHostileProvider,
  tokens,
} from './hostile-provider.ts'
import { Browser, buildService } from './provider-visits.ts'
import { comeBack, level, startProvider } from './real-provider.ts'

const stepUp = '/auth/oidc/acme/step-up'
const REFUSED = [401, 'PARAPET_SESSIONS_SSO_REFUSED']
const trustedMethods = { acr: { [level]: ['hwk', 'mfa'] } }

async function start(
  t: Test,
  provider: Partial<OidcProviderOptions> = {},
  more: Partial<SessionsOptions> = {},
) {
  const real = await startProvider(t)
  const built = await buildService(t, { issuer: real.issuer, trustedMethods, ...provider }, more)
  const browser = new Browser(built.app)
  await browser.signOn()
  return { ...built, real, browser }
}

await t.test('the provider asks again, and its signed answer raises the session', async (t) => {
  const { real, browser, events, app } = await start(t, { stepUp: { acrValues: [level] } })
  const before = await browser.me()
  t.same(before.amr, ['oidc'])
  const token = browser.cookies['__Host-session']!
  real.prompts.length = 0
  real.acr = level
  const begun = await browser.send('POST', stepUp, { returnTo: '/settings' })
  const url = new URL(begun.json<{ url: string }>().url)
  t.same(
    ['prompt', 'max_age', 'acr_values'].map((name) => url.searchParams.get(name)),
    ['login', '0', level],
  )
  const landed = await browser.land(await comeBack(url.href, browser.jar))
  t.same([landed.statusCode, landed.headers.location], [303, '/settings'])
  t.ok(real.prompts.includes('login'), 'the user authenticated again')
  const after = await browser.me()
  t.same([after.id, after.amr], ['acme:alice', ['oidc', 'hwk', 'mfa']])
  t.not(after.sessionId, before.sessionId, 'under a new id')
  const { acr } = await app.sessions.verify(browser.cookies['__Host-session']!)
  t.equal(acr, level)
  const refused = { code: 'PARAPET_SESSIONS_UNAUTHENTICATED' }
  await t.rejects(app.sessions.verify(token), refused, 'older tokens gain nothing')
  t.match(eventsOf(events, 'sessions.elevated'), [
    { principalId: 'acme:alice', details: { method: 'oidc:acme hwk mfa' } },
  ])
})

await t.test('what a step-up does not show, it does not raise', async (t) => {
  const { real, browser } = await start(t, { stepUp: { acrValues: [level] } })
  t.same(refusalOf(await browser.visit(stepUp)), REFUSED, 'not at the level that was asked for')
  t.same((await browser.me()).amr, ['oidc'])
  real.acr = level
  real.account = 'mallory'
  browser.jar.clear()
  t.same(refusalOf(await browser.visit(stepUp)), REFUSED, 'another user at the provider')
  const { id, amr } = await browser.me()
  t.same([id, amr], ['acme:alice', ['oidc']], 'the session is as it was')
})

await t.test('only a session with an identity at the provider steps up there', async (t) => {
  const { browser, app } = await start(t)
  const other = new Browser(app)
  t.same(refusalOf(await other.send('POST', stepUp))[0], 401, 'nobody')
  await other.logIn('ada')
  t.same(refusalOf(await other.send('POST', stepUp)), [404, 'PARAPET_SESSIONS_NOT_FOUND'])
  const unknown = await browser.send('POST', '/auth/oidc/nobody/step-up')
  t.same(refusalOf(unknown), [404, 'PARAPET_SESSIONS_NOT_FOUND'])
  const { url } = (await browser.send('POST', stepUp)).json<{ url: string }>()
  const back = await comeBack(url, browser.jar)
  await browser.send('POST', '/auth/logout')
  t.same(refusalOf(await browser.land(back)), REFUSED, 'the session has ended meanwhile')
})

await t.test(
  'another user of the browser gains nothing from a step-up that has begun',
  async (t) => {
    const { browser } = await start(t)
    const { url } = (await browser.send('POST', stepUp)).json<{ url: string }>()
    const back = await comeBack(url, browser.jar)
    const refresh = browser.cookies['__Host-refresh']!
    delete browser.cookies['__Host-refresh']
    await browser.logIn('bob')
    t.same(refusalOf(await browser.land(back)), REFUSED)
    t.equal((await browser.me()).id, 'bob')
    browser.cookies['__Host-refresh'] = refresh
    t.equal((await browser.send('POST', '/auth/refresh')).statusCode, 200, 'the first lives on')
  },
)

await t.test('the time and the level are those of the signed ID token', async (t) => {
  const hostile = await startHostileProvider(t)
  const { app, clock } = await buildService(t, {
    issuer: hostile.issuer,
    clientSecret: hostileSecret,
    userinfo: true,
    trustedMethods: { acr: { high: ['hwk'] }, amr: { otp: ['otp'] } },
  })
  hostile.script.userinfo = { body: { sub: 'alice', acr: 'high', amr: ['otp'], auth_time: 1 } }
  const visit = async (browser: Browser, url: string, claims: Json) => {
    const begun = await browser.send(url === stepUp ? 'POST' : 'GET', url)
    const to = url === stepUp ? begun.json<{ url: string }>().url : String(begun.headers.location)
    hostile.script.answer = (nonce) => ({
      body: tokens(idToken({ ...hostile.claims(nonce), ...claims })),
    })
    const query = hostile.approve(new URL(to))
    return browser.land(new URL(`http://x/auth/oidc/acme/callback?${query.toString()}`))
  }
  const browser = new Browser(app)
  const at = Math.floor(clock.now() / 1000)
  await visit(browser, '/auth/oidc/acme', { auth_time: at - 7200 })
  const before = await browser.me()
  t.equal(before.authenticatedAt, (at - 7200) * 1000)
  for (const claims of [{}, { auth_time: at - 7200 }, { auth_time: String(at) }]) {
    t.same(refusalOf(await visit(browser, stepUp, claims)), REFUSED, JSON.stringify(claims))
  }
  t.same(await browser.me(), before)
  t.equal((await visit(browser, stepUp, { auth_time: at })).statusCode, 303)
  const timed = await browser.me()
  t.same([timed.amr, timed.authenticatedAt], [['oidc'], at * 1000], 'the time, and no method')
  await visit(browser, stepUp, { auth_time: at, acr: 'high' })
  const raised = await browser.me()
  t.same(raised.amr, ['oidc', 'hwk'])
  const { acr } = await app.sessions.verify(browser.cookies['__Host-session']!)
  t.equal(acr, undefined, 'a level that nobody asked for is no level of the session')
})

await t.test('a login of which the provider says no time is not fresh', async (t) => {
  const hostile = await startHostileProvider(t)
  const provider = { issuer: hostile.issuer, clientSecret: hostileSecret }
  const { app, clock } = await buildService(t, provider, { linking: {} })
  const visit = async (browser: Browser, method: 'GET' | 'POST', url: string, claims: Json) => {
    const begun = await browser.send(method, url)
    const to =
      method === 'POST' ? begun.json<{ url: string }>().url : String(begun.headers.location)
    hostile.script.answer = (nonce) => ({
      body: tokens(idToken({ ...hostile.claims(nonce), ...claims })),
    })
    const query = hostile.approve(new URL(to))
    return browser.land(new URL(`http://x/auth/oidc/acme/callback?${query.toString()}`))
  }
  const at = Math.floor(clock.now() / 1000)
  const stale = [401, 'PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED']
  const browser = new Browser(app)
  await visit(browser, 'GET', '/auth/oidc/acme', {})
  t.equal((await browser.me()).authenticatedAt, 0, 'so long ago that nothing takes it for fresh')
  const refused = await browser.send('POST', '/auth/identities/acme')
  t.same(refusalOf(refused), stale)
  t.match(refused.headers['www-authenticate'], /insufficient_user_authentication/)
  await visit(browser, 'POST', stepUp, { auth_time: at })
  t.equal((await browser.send('POST', '/auth/identities/acme')).statusCode, 200, 'after a step-up')

  const timed = new Browser(app)
  await visit(timed, 'GET', '/auth/oidc/acme', { auth_time: at - 60 })
  t.equal((await timed.send('POST', '/auth/identities/acme')).statusCode, 200, 'a minute ago')
})

await t.test('a logout at the provider ends a session that stepped up', async (t) => {
  const hostile = await startHostileProvider(t)
  const { app, clock } = await buildService(t, {
    issuer: hostile.issuer,
    clientSecret: hostileSecret,
  })
  const at = Math.floor(clock.now() / 1000)
  const browser = new Browser(app)
  let sid = 'first'
  hostile.script.answer = (nonce) => ({
    body: tokens(idToken({ ...hostile.claims(nonce), auth_time: at, iat: at, sid })),
  })
  const land = (to: string) => {
    const query = hostile.approve(new URL(to))
    return browser.land(new URL(`http://x/auth/oidc/acme/callback?${query.toString()}`))
  }
  await land(String((await browser.send('GET', '/auth/oidc/acme')).headers.location))
  sid = 'second'
  await land((await browser.send('POST', stepUp)).json<{ url: string }>().url)
  t.equal((await browser.me()).id, 'acme:alice')
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
  const claims = {
    iss: hostile.issuer,
    aud: 'app',
    iat: at + 5,
    exp: at + 99,
    jti: 'j',
    sid,
    events,
  }
  const reply = await app.inject({
    method: 'POST',
    url: '/auth/oidc/acme/backchannel-logout',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ logout_token: idToken(claims, { typ: 'logout+jwt' }) }).toString(),
  })
  t.equal(reply.statusCode, 200)
  t.equal((await browser.send('GET', '/me')).statusCode, 401)
})
