/** Providers that do not say when the user authenticated, and requests that no browser can change. */
import { acceptPromptAsLogin } from '@parapet/sessions'
import t from 'tap'
import { refusalOf } from './build.ts'
import {
  clientSecret as hostileSecret,
  idToken,
  startHostileProvider,
  type HostileProvider,
  tokens,
} from './hostile-provider.ts'
import { Browser, buildService } from './provider-visits.ts'
import { comeBack, startProvider } from './real-provider.ts'

const login = '/auth/oidc/acme'
const stepUp = '/auth/oidc/acme/step-up'
const link = '/auth/identities/acme'
const stale = [401, 'PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED']
const refused = [401, 'PARAPET_SESSIONS_SSO_REFUSED']
/** The claims of every ID token but `auth_time`. */
const withoutTime = ['sub', 'groups', 'amr', 'acr']

const hourAgo = (now: number) => ({ auth_time: now - 3600 })

/** Lets a browser land with an ID token without `auth_time`, or with these claims. */
async function landAt(
  hostile: HostileProvider,
  browser: Browser,
  url: string,
  claims: object = {},
) {
  hostile.script.answer = (nonce) => ({
    body: tokens(idToken({ ...hostile.claims(nonce), ...claims })),
  })
  const query = hostile.approve(new URL(url)).toString()
  return browser.land(new URL(`http://x/auth/oidc/acme/callback?${query}`))
}

await t.test('a visit that was asked for with prompt=login is a login by choice', async (t) => {
  const hostile = await startHostileProvider(t)
  const { issuer } = hostile
  const provider = { issuer, clientSecret: hostileSecret, prompt: ['login'] } as const
  const strict = new Browser((await buildService(t, provider, { linking: {} })).app)
  await landAt(hostile, strict, String((await strict.send('GET', login)).headers.location))
  t.equal((await strict.me()).authenticatedAt, 0)
  t.same(refusalOf(await strict.send('POST', link)), stale, 'not by default')

  const trusting = { ...provider, [acceptPromptAsLogin]: true } as const
  const { app, clock } = await buildService(t, trusting, { linking: {} })
  const browser = new Browser(app)
  const begun = await browser.send('GET', login)
  const startedAt = clock.now()
  clock.advance(60_000)
  await landAt(hostile, browser, String(begun.headers.location))
  const { authenticatedAt } = await browser.me()
  const expected = Math.floor(startedAt / 1000) * 1000
  t.equal(authenticatedAt, expected, 'it came after the start of the visit')
  t.equal((await browser.send('POST', link)).statusCode, 200)
  clock.advance(240_001)
  t.same(refusalOf(await browser.send('POST', link)), stale, 'five minutes after that')
})

await t.test('a login that was not asked for with prompt=login stays without a time', async (t) => {
  const { issuer } = await startProvider(t, {}, { claims: withoutTime })
  const { app } = await buildService(t, { issuer, [acceptPromptAsLogin]: true }, { linking: {} })
  const browser = new Browser(app)
  await browser.signOn()
  t.equal((await browser.me()).authenticatedAt, 0)
})

await t.test('a step-up without a time is refused, or accepted by choice', async (t) => {
  const hostile = await startHostileProvider(t)
  const provider = { issuer: hostile.issuer, clientSecret: hostileSecret }
  const visit = async (accepts: boolean, authTime: (now: number) => object) => {
    const more = accepts ? ({ [acceptPromptAsLogin]: true } as const) : {}
    const { app, clock } = await buildService(t, { ...provider, ...more })
    const browser = new Browser(app)
    await landAt(hostile, browser, String((await browser.send('GET', login)).headers.location))
    const { url } = (await browser.send('POST', stepUp)).json<{ url: string }>()
    const now = Math.floor(clock.now() / 1000)
    const landed = await landAt(hostile, browser, url, authTime(now))
    const { authenticatedAt } = await browser.me()
    return [refusalOf(landed), authenticatedAt === 0] as const
  }
  t.same(await visit(false, () => ({})), [refused, true])
  t.same(await visit(true, () => ({})), [[303, undefined], false])
  t.same(await visit(true, hourAgo), [refused, true], 'a time that is said is checked')
  t.same(await visit(true, () => ({ auth_time: null })), [refused, true])
})

await t.test('nobody at the browser can read or change a pushed request', async (t) => {
  const { issuer, prompts } = await startProvider(t)
  const { app } = await buildService(t, { issuer, prompt: ['login'], pushRequests: true })
  const browser = new Browser(app)
  for (const expected of [['login', 'consent'], ['login']]) {
    prompts.length = 0
    const url = new URL(String((await browser.send('GET', login)).headers.location))
    t.same([...url.searchParams.keys()].toSorted(), ['client_id', 'request_uri'])
    url.searchParams.set('prompt', 'none')
    t.equal((await browser.land(await comeBack(url.href, browser.jar))).statusCode, 303)
    t.same(prompts, expected, 'the provider asked for the password')
  }
})

await t.test('a provider that takes no pushed requests gives 503', async (t) => {
  const hostile = await startHostileProvider(t)
  const provider = { issuer: hostile.issuer, clientSecret: hostileSecret, pushRequests: true }
  const { app } = await buildService(t, provider)
  const browser = new Browser(app)
  const unavailable = [503, 'PARAPET_SESSIONS_UNAVAILABLE']
  t.same(refusalOf(await browser.send('GET', login)), unavailable, 'no endpoint')
  const pushed = { pushed_authorization_request_endpoint: `${hostile.issuer}/push` }
  hostile.script.metadata = { ...hostile.script.metadata, ...pushed }
  const other = new Browser((await buildService(t, provider)).app)
  t.same(refusalOf(await other.send('GET', login)), unavailable, 'it answers 404')
})

await t.test('a login ends at an instance whose clock is behind', async (t) => {
  const { issuer } = await startProvider(t)
  const [ahead, behind] = await Promise.all(
    [1, 2].map(() => buildService(t, { issuer, maxAgeMs: 0 })),
  )
  ahead!.clock.advance(3000)
  const browser = new Browser(ahead!.app)
  const { headers } = await browser.send('GET', login)
  const other = new Browser(behind!.app)
  Object.assign(other.cookies, browser.cookies)
  const landed = await other.land(await comeBack(String(headers.location), browser.jar))
  t.equal(landed.statusCode, 303)
})
