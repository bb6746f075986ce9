/** The browser client in Chromium: three tabs, a lost session, passkeys, and its size. */
import { EventEmitter, once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { createManualClock, type ManualClock } from '@parapet/kit'
import { allowInsecureProvider, sessions } from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { baseOptions } from './build.ts'
import { closeBrowser, launch } from './chromium.ts'
import { addPage, clientCode, HOST, run } from './client-page.ts'

const ACCESS_MS = 900_000

interface Service {
  readonly url: string
  readonly clock: ManualClock
  /** The paths of requests with their status, in the order of the responses. */
  readonly answered: string[]
  /** The status with which `POST /auth/refresh` is refused; `0`: it works. */
  readonly fault: { status: number }
  readonly app: FastifyInstance
  /** Lets the requests to `POST /auth/refresh` wait; call the result to let them go on. */
  hold(): () => void
  open(): Promise<Page>
}

async function start(t: Test, lifetimeMs = ACCESS_MS): Promise<Service | null> {
  const context = await launch(t)
  if (context === null) return null
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const app = Fastify({ forceCloseConnections: true })
  const answered: string[] = []
  const fault = { status: 0 }
  let held: Promise<unknown> | undefined
  app.addHook('onResponse', async ({ method, url }, { statusCode }) => {
    answered.push(`${method} ${url} ${statusCode}`)
  })
  app.addHook('onRequest', async (request, reply) => {
    if (request.url !== '/auth/refresh') return
    await held
    if (fault.status !== 0) {
      await reply.code(fault.status).header('retry-after', '7').send({ code: 'DOWN' })
    }
  })
  await app.register(sessions, {
    ...baseOptions,
    clock,
    cookies: {},
    accessLifetimeMs: lifetimeMs,
    prefix: '/auth',
    credentials: async ({ login, password }) =>
      password === 'right' ? { id: login, roles: [] } : null,
    findUser: async (id) => ({ id, roles: [] }),
    linking: {},
    oidc: {
      acme: {
        issuer: 'http://127.0.0.1:9',
        clientId: 'app',
        clientSecret: 'a secret',
        redirectUri: 'http://127.0.0.1:9/callback',
        [allowInsecureProvider]: true,
      },
    },
  })
  addPage(app)
  app.get('/me', async ({ principal }) => principal?.id)
  app.post('/echo', async ({ body }) => body)
  app.post('/strict', async (_request, reply) => {
    const challenge = 'Bearer error="insufficient_user_authentication", max_age="300"'
    return reply.code(401).header('www-authenticate', challenge).send({ code: 'STEP_UP' })
  })
  addPasskeyLogin(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  const url = `http://${HOST}:${(app.server.address() as AddressInfo).port}`
  return {
    url,
    clock,
    answered,
    fault,
    app,
    hold() {
      const gate = new EventEmitter()
      held = once(gate, 'open')
      return () => {
        held = undefined
        gate.emit('open')
      }
    },
    async open() {
      const page = await context.newPage()
      await page.goto(url)
      await page.waitForFunction('window.client')
      return page
    },
  }
}

/** What mfa does, without the check of the signature: its own tests make that one. */
function addPasskeyLogin(app: FastifyInstance): void {
  const open = { config: { sessions: 'optional' } } as const
  const challenge = Buffer.alloc(32, 7).toString('base64url')
  app.post('/mfa/passkeys/login/options', open, async () => ({ challenge, rpId: HOST }))
  app.post<{ Body: { response: { id: string; response: { clientDataJSON: string } } } }>(
    '/mfa/passkeys/login',
    open,
    async ({ body }, reply) => {
      const { clientDataJSON } = body.response.response
      const client = JSON.parse(Buffer.from(clientDataJSON, 'base64url').toString()) as object
      if ((client as { challenge?: string }).challenge !== challenge) return reply.code(400).send()
      const grant = await app.sessions.start({ id: body.response.id, roles: [] })
      return app.sessions.hand(reply, grant)
    },
  )
}

const logIn = (page: Page, login = 'ada') =>
  run(page, `(await client.login({ login: '${login}', password: 'right' })).state`)
const statuses = (page: Page, count: number) =>
  run(
    page,
    `Promise.all(Array.from({ length: ${count} }, () => client.fetch('/me').then((r) => r.status)))`,
  )
const count = (answered: readonly string[], start: string) =>
  answered.filter((each) => each.startsWith(start)).length

await t.test('the client has less than 3 KB', async (t) => {
  const bytes = gzipSync(clientCode, { level: 9 }).length
  t.comment(`${bytes} bytes with gzip`)
  t.ok(bytes < 3072, `${bytes} bytes`)
})

await t.test('three tabs refresh once, and every request succeeds', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tabs = [await service.open(), await service.open(), await service.open()]
  t.equal(await logIn(tabs[0]!), 'signed-in')
  for (let round = 1; round <= 3; round++) {
    service.clock.advance(ACCESS_MS + 1000)
    const all = await Promise.all(tabs.map((tab) => statuses(tab, 5)))
    t.same(all.flat(), Array(15).fill(200))
    t.equal(count(service.answered, 'POST /auth/refresh'), round)
  }
  t.equal(await tabs[2]!.evaluate('changes.join()'), 'signed-in', 'a refresh is no change')
})

await t.test('without Web Locks, the requests of a tab refresh once', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await tab.evaluate(`Object.defineProperty(navigator, 'locks', { value: undefined })`)
  await logIn(tab)
  service.clock.advance(ACCESS_MS + 1000)
  t.same(await statuses(tab, 6), Array(6).fill(200))
  t.equal(count(service.answered, 'POST /auth/refresh'), 1)
})

await t.test('a token that is about to expire is refreshed before the request', async (t) => {
  const service = await start(t, 4000)
  if (service === null) return
  const tab = await service.open()
  await logIn(tab)
  t.same(await statuses(tab, 1), [200])
  t.equal(count(service.answered, 'POST /auth/refresh 200'), 1)
  t.equal(count(service.answered, 'GET /me 401'), 0)
})

await t.test('a body is sent again after a refresh', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await logIn(tab)
  service.clock.advance(ACCESS_MS + 1000)
  const init = `{ method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json' } }`
  t.equal(await run(tab, `(await client.fetch('/echo', ${init})).text()`), '{"a":1}')
  service.clock.advance(ACCESS_MS + 1000)
  const request = `new Request('/echo', ${init})`
  t.equal(await run(tab, `(await client.fetch(${request})).text()`), '{"a":1}')
  t.equal(count(service.answered, 'POST /echo 401'), 2)
})

await t.test(
  'a refresh that finds no session signs out all tabs, and is not repeated',
  async (t) => {
    const service = await start(t)
    if (service === null) return
    const tabs = [await service.open(), await service.open()]
    await logIn(tabs[0]!)
    await tabs[1]!.waitForFunction(`changes.join() === 'signed-in'`)
    await tabs[0]!.context().clearCookies()
    t.same(await statuses(tabs[0]!, 1), [401])
    await tabs[1]!.waitForFunction(`changes.at(-1) === 'signed-out'`)
    t.same(await statuses(tabs[1]!, 3), [401, 401, 401])
    t.equal(count(service.answered, 'POST /auth/refresh'), 1)
  },
)

await t.test('a service that is down does not sign out', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await logIn(tab)
  service.clock.advance(ACCESS_MS + 1000)
  service.fault.status = 503
  const refused = `client.fetch('/me').catch(({ name, status, code, retryAfterSeconds }) =>
    [name, status, code, retryAfterSeconds])`
  t.same(await run(tab, refused), ['SessionError', 503, 'DOWN', 7])
  t.equal(await tab.evaluate('changes.join()'), 'signed-in')
  service.fault.status = 0
  t.same(await statuses(tab, 1), [200], 'and the session goes on')
})

await t.test('a refresh that gets no answer ends after 15 s, and the next one works', async (t) => {
  const service = await start(t)
  if (service === null) return
  const [tab, other] = [await service.open(), await service.open()]
  await logIn(tab)
  await tab.evaluate(`{ const real = setTimeout; window.limits = []
    window.setTimeout = (work, ms) => (ms === 15_000 ? limits.push(work) : real(work, ms)) }`)
  service.clock.advance(ACCESS_MS + 1000)
  const release = service.hold()
  const begun = tab.waitForRequest((request) => request.url().endsWith('/auth/refresh'))
  const late = run(tab, `client.refresh().catch(({ status, code }) => [status, code])`)
  await begun
  const waiting = statuses(other, 1)
  await tab.evaluate('limits.forEach((limit) => limit())')
  t.same(await late, [0, 'TIMEOUT'])
  release()
  t.same(await waiting, [200], 'the other tab has the lock')
  t.equal(await tab.evaluate('changes.join()'), 'signed-in')
})

await t.test('a clock that was set back does not stop the refresh', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await tab.evaluate(
    `{ const now = Date.now; window.ahead = 3_600_000; Date.now = () => now() + ahead }`,
  )
  await logIn(tab)
  await tab.evaluate('window.ahead = 0')
  service.clock.advance(ACCESS_MS + 1000)
  t.same(await statuses(tab, 3), [200, 200, 200])
  t.equal(await run(tab, 'client.refresh()'), true)
})

await t.test('a demand for another factor is passed on, without a refresh', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await logIn(tab)
  t.equal(await run(tab, `(await client.fetch('/strict', { method: 'POST' })).status`), 401)
  t.equal(count(service.answered, 'POST /strict'), 1, 'the request is not repeated')
  t.equal(count(service.answered, 'POST /auth/refresh'), 0)
})

await t.test('a logout during a refresh of another tab signs out', async (t) => {
  const service = await start(t)
  if (service === null) return
  const [tab, other] = [await service.open(), await service.open()]
  await logIn(tab)
  await other.waitForFunction(`changes.join() === 'signed-in'`)
  const release = service.hold()
  const begun = other.waitForRequest((request) => request.url().endsWith('/auth/refresh'))
  const refreshed = run(other, 'client.refresh()')
  await begun
  const out = run(tab, 'client.logout()')
  release()
  await Promise.all([refreshed, out])
  await other.waitForFunction(`changes.at(-1) === 'signed-out'`)
  t.equal(await tab.evaluate('changes.at(-1)'), 'signed-out')
  t.same(await statuses(other, 1), [401], 'no cookie came back')
})

await t.test('a page calls the routes of its user', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await logIn(tab)
  const [session] = (await run(tab, 'client.listSessions()')) as { id: string }[]
  await run(tab, `client.nameDevice('${session!.id}', 'my desk')`)
  t.match(await run(tab, 'client.listSessions()'), [{ current: true, name: 'my desk' }])
  await service.app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'a' })
  const [identity] = (await run(tab, 'client.listIdentities()')) as { id: string }[]
  t.match(identity, { provider: 'acme', subject: 'a' })
  const code = `({ status, code }) => [status, code]`
  t.same(await run(tab, `client.unlinkIdentity('${identity!.id}').catch(${code})`), [
    409,
    'PARAPET_SESSIONS_LAST_LOGIN',
  ])
  const down = [503, 'PARAPET_SESSIONS_UNAVAILABLE']
  t.same(await run(tab, `client.linkIdentity('acme', '/settings').catch(${code})`), down)
  t.same(await run(tab, `client.stepUp('acme').catch(${code})`), down)
  t.equal(await run(tab, `client.logoutAtProvider('/bye')`), '/bye', 'it came from no provider')
  t.equal(await tab.evaluate('changes.at(-1)'), 'signed-out')
  t.same(await statuses(tab, 1), [401])
})

await t.test('a user who cancels a passkey chose none', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  await tab.evaluate(`navigator.credentials.get = async () => {
    throw new DOMException('cancelled', 'NotAllowedError') }`)
  const refused = `client.loginWithPasskey().catch(({ name, status, code }) => [name, status, code])`
  t.same(await run(tab, refused), ['SessionError', 0, 'PASSKEY_MISSING'])
})

await t.test('a logout everywhere ends the other tab and the other device', async (t) => {
  const service = await start(t)
  if (service === null) return
  const [tab, other] = [await service.open(), await service.open()]
  const device = await fetch(`${service.url.replace(HOST, '127.0.0.1')}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ login: 'ada', password: 'right' }),
  })
  const { access_token } = (await device.json()) as { access_token: string }
  await logIn(tab)
  t.equal(await run(tab, `(await client.listSessions()).length`), 2)
  await run(tab, `client.logoutEverywhere()`)
  await other.waitForFunction(`changes.at(-1) === 'signed-out'`)
  t.same(await statuses(other, 1), [401])
  const headers = { authorization: `Bearer ${access_token}` }
  const late = await fetch(`${service.url.replace(HOST, '127.0.0.1')}/me`, { headers })
  t.equal(late.status, 401)
})

await t.test('a wrong password is refused with its code', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  const refused = `client.login({ login: 'ada', password: 'x' }).catch(({ status, code }) => [status, code])`
  t.same(await run(tab, refused), [401, 'PARAPET_SESSIONS_LOGIN_FAILED'])
  t.same(await tab.evaluate('changes'), [])
})

await t.test('a passkey logs in, and a prompt in a form can be ended', async (t) => {
  const service = await start(t)
  if (service === null) return
  const tab = await service.open()
  const cdp = await tab.context().newCDPSession(tab)
  await cdp.send('WebAuthn.enable')
  const options = {
    protocol: 'ctap2',
    transport: 'internal',
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
  } as const
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options })
  const created = `{
    rp: { id: '${HOST}', name: 'a' }, user: { id: 'AQ', name: 'ada', displayName: 'Ada' },
    challenge: 'AAAA', pubKeyCredParams: [{ type: 'public-key', alg: -7 }],
    authenticatorSelection: { residentKey: 'required' },
  }`
  const id = await run(
    tab,
    `(await navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(${created}) })).id`,
  )
  t.equal(await run(tab, `(await client.loginWithPasskey()).state`), 'signed-in')
  t.equal(await run(tab, `(await client.fetch('/me')).text()`), id)

  const ended = `(async () => {
    const stop = new AbortController()
    const waiting = client.loginWithPasskey({ autofill: true, signal: stop.signal })
    stop.abort()
    return waiting.catch(({ name }) => name)
  })()`
  t.equal(await run(tab, ended), 'AbortError')
})

await t.test('the browser closes', async (t) => {
  await closeBrowser()
  t.pass()
})
