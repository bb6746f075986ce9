/** A real browser with two sibling hosts and an identity provider on another site. */
import type { AddressInfo } from 'node:net'
import { allowInsecureProvider, sessions, type CookieOptions } from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { baseOptions } from './build.ts'
import { closeBrowser, launch } from './chromium.ts'
import { clientId, clientSecret, startHostileProvider } from './hostile-provider.ts'

const APP = 'app.site.localhost'
const SIBLING = 'evil.site.localhost'

async function listen(t: Test, app: FastifyInstance, host: string): Promise<string> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  return `http://${host}:${(app.server.address() as AddressInfo).port}`
}

/** A provider whose page has a link back to the service, as after a click on "continue". */
async function startIdentityProvider(t: Test) {
  const provider = await startHostileProvider(t)
  const page = Fastify({ forceCloseConnections: true })
  page.get('/authorize', async (request, reply) => {
    const asked = new URL(request.url, 'http://127.0.0.1')
    const back = `${asked.searchParams.get('redirect_uri')}?${provider.approve(asked).toString()}`
    return reply
      .type('text/html')
      .send(
        `<!doctype html><link rel="icon" href="data:,"><a id="go" href="${back.replaceAll('&', '&amp;')}">go</a>`,
      )
  })
  const origin = await listen(t, page, '127.0.0.1')
  const { metadata } = provider.script
  provider.script.metadata = { ...metadata, authorization_endpoint: `${origin}/authorize` }
  return provider
}

/** The service under test. `/open` shows who is logged in. */
async function serve(t: Test, cookies: CookieOptions, issuer?: string): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  let own = ''
  const acme = {
    issuer: issuer ?? '',
    clientId,
    clientSecret,
    get redirectUri() {
      return `${own}/auth/oidc/acme/callback`
    },
    [allowInsecureProvider]: true as const,
  }
  // The port is part of the address of the callback, so it is chosen before the plugin registers.
  const probe = Fastify()
  await probe.listen({ port: 0, host: '127.0.0.1' })
  const { port } = probe.server.address() as AddressInfo
  await probe.close()
  own = `http://${APP}:${port}`
  await app.register(sessions, {
    ...baseOptions,
    cookies,
    prefix: '/auth',
    credentials: async ({ login }) => ({ id: login, roles: [] }),
    ...(issuer === undefined ? undefined : { oidc: { acme: { ...acme } } }),
  })
  app.get('/open', { config: { sessions: 'optional' } }, async (request, reply) =>
    reply
      .type('text/html')
      .send(
        `<!doctype html><link rel="icon" href="data:,"><p>${request.principal?.id ?? 'nobody'}</p>`,
      ),
  )
  await app.listen({ port, host: '127.0.0.1' })
  t.after(() => app.close())
  return own
}

const who = (page: Page) => page.textContent('p')

/** Logs in from a page of the service. */
async function logIn(page: Page, login: string): Promise<unknown> {
  return page.evaluate(`fetch('/auth/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: ${JSON.stringify(JSON.stringify({ login, password: 'x' }))},
  }).then((reply) => reply.status)`)
}

await t.test('a sibling host cannot plant a session with the byte 0xA0', async (t) => {
  const context = await launch(t)
  if (context === null) return
  const url = await serve(t, {})
  const attack = Fastify({ forceCloseConnections: true })
  const login = { login: 'mallory', password: 'x' }
  const reply = await fetch(`${url.replace(APP, '127.0.0.1')}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(login),
  })
  const { access_token } = (await reply.json()) as { access_token: string }
  attack.get('/', async (_request, reply) =>
    reply
      .header('set-cookie', `\xa0__Host-session=${access_token}; Domain=site.localhost; Path=/`)
      .type('text/html')
      .send('<!doctype html><link rel="icon" href="data:,"><p>planted</p>'),
  )
  const sibling = await listen(t, attack, SIBLING)
  const page = await context.newPage()
  await page.goto(sibling)
  const sent = page.waitForRequest(`${url}/open`)
  await page.goto(`${url}/open`)
  const planted = (await (await sent).allHeaders())['cookie'] ?? ''
  t.match(planted, '__Host-session=', 'the browser sends the planted cookie')
  t.equal(await who(page), 'nobody', 'it is not a login')
  t.equal(await logIn(page, 'victim'), 200)
  await page.reload()
  t.equal(await who(page), 'victim', 'and does not disturb the real one')
})

await t.test('a logout leaves the sibling host and other cookies alone', async (t) => {
  const context = await launch(t)
  if (context === null) return
  const url = await serve(t, {})
  const other = Fastify({ forceCloseConnections: true })
  other.get('/', async (_request, reply) =>
    reply
      .header('set-cookie', 'sibling=kept; Domain=site.localhost; Path=/')
      .type('text/html')
      .send('<!doctype html><link rel="icon" href="data:,">'),
  )
  const page = await context.newPage()
  const sibling = await listen(t, other, SIBLING)
  await page.goto(sibling)
  await page.evaluate('localStorage.setItem("kept", "yes")')
  await page.goto(`${url}/open`)
  await page.evaluate('localStorage.setItem("kept", "yes"), (document.cookie = "device=kept")')
  t.equal(await logIn(page, 'ada'), 200)
  const out = await page.evaluate(`fetch('/auth/logout', { method: 'POST' }).then((r) => r.status)`)
  t.equal(out, 204)
  await page.reload()
  t.equal(await who(page), 'nobody')
  const names = (await context.cookies()).map(({ name }) => name).toSorted()
  t.same(names, ['device', 'sibling'], 'only the own cookies are gone')
  t.equal(await page.evaluate('localStorage.getItem("kept")'), 'yes')
  await page.goto(sibling)
  t.equal(await page.evaluate('localStorage.getItem("kept")'), 'yes')
})

for (const cookies of [{}, { sameSite: 'strict' }] as const) {
  const name = cookies.sameSite ?? 'default'
  await t.test(`single sign-on lands signed in, with ${name} cookies`, async (t) => {
    const context = await launch(t)
    if (context === null) return
    const { issuer } = await startIdentityProvider(t)
    const url = await serve(t, cookies, issuer)
    const page = await context.newPage()
    await page.goto(`${url}/auth/oidc/acme?returnTo=/open?a=1%26b=2`)
    await page.click('#go')
    await page.waitForURL(`${url}/open?a=1&b=2`)
    t.match(await who(page), /^acme:/)
    await page.reload()
    t.match(await who(page), /^acme:/, 'also after a reload')
  })
}

await t.test('two tabs at the provider both come back signed in', async (t) => {
  const context = await launch(t)
  if (context === null) return
  const { issuer } = await startIdentityProvider(t)
  const url = await serve(t, {}, issuer)
  const tabs = [await context.newPage(), await context.newPage()]
  for (const tab of tabs) await tab.goto(`${url}/auth/oidc/acme?returnTo=/open`)
  for (const tab of tabs) {
    await tab.click('#go')
    await tab.waitForURL(`${url}/open`)
    t.match(await who(tab), /^acme:/)
  }
  const left = (await context.cookies()).map(({ name }) => name).toSorted()
  t.same(left, ['__Host-refresh', '__Host-session'], 'the cookies of both logins are deleted')
})

await t.test('the browser closes', async (t) => {
  await closeBrowser()
  t.pass()
})
