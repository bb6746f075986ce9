/** The calls of the browser client about the account, in Chromium, and that every route for pages has a call. */
import type { AddressInfo } from 'node:net'
import { sessions, allowInsecureProvider } from '@parapet/sessions'
import Fastify from 'fastify'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { accountOptions, newPassword, password, passwordHash } from './accounts.ts'
import { baseOptions } from './build.ts'
import { closeBrowser, launch } from './chromium.ts'
import { addPage, HOST, run } from './client-page.ts'

/** Routes that no script calls: the browser goes there, or another server does. */
const NOT_FOR_SCRIPTS = new Set([
  'GET /auth/jwks.json',
  'GET /auth/oidc/:provider',
  'GET /auth/oidc/:provider/callback',
  'POST /auth/oidc/:provider/callback',
  'POST /auth/oidc/:provider/backchannel-logout',
  'GET /auth/oidc/:provider/logged-out',
])

/** A service with every route, the account `ada@example.com`, and a page that uses the client. */
async function start(t: Test) {
  const context = await launch(t)
  if (context === null) return null
  const app = Fastify({ forceCloseConnections: true })
  const routes = new Set<string>()
  const called = new Set<string>()
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) if (each !== 'HEAD') routes.add(`${each} ${url}`)
  })
  app.addHook('onResponse', async ({ method, routeOptions: { url = '' } }) => {
    called.add(`${method} ${url}`)
  })
  const { mailbox, table, options, jobs } = accountOptions(t)
  table.rows.push({ id: 'new', email: 'new@example.com', isEmailVerified: false, passwordHash })
  await app.register(sessions, {
    ...baseOptions,
    ...options,
    cookies: {},
    secondFactor: { methodsOf: async () => [], verify: async () => ({ amr: ['otp'] }), page: '/' },
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
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  await jobs.start()
  const url = `http://${HOST}:${(app.server.address() as AddressInfo).port}`
  const open = async (): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(url)
    await page.waitForFunction('window.client')
    return page
  }
  return { app, routes, called, mailbox, open }
}

const refusal = `({ status, code }) => [status, code]`
const logIn = (page: Page, secret: string, login = 'ada@example.com') =>
  run(page, `(await client.login({ login: '${login}', password: '${secret}' })).state`)
const state = (page: Page, call: string) => run(page, `(await client.${call}).state`)

await t.test('a page resets a password, changes it, and changes the address', async (t) => {
  const service = await start(t)
  if (service === null) return
  const { mailbox } = service
  const page = await service.open()
  t.equal(await run(page, `client.requestPasswordReset('nobody@example.com')`), undefined)
  await run(page, `client.requestPasswordReset('ada@example.com')`)
  const { token } = await mailbox.next('reset')
  const reset = (secret: string) =>
    run(
      page,
      `client.resetPassword({ token: '${token}', password: '${secret}' }).catch(${refusal})`,
    )
  t.same(await reset('short'), [400, 'PARAPET_SESSIONS_PASSWORD_REFUSED'])
  t.equal(await reset(newPassword), undefined)
  t.same(await reset(newPassword), [401, 'PARAPET_SESSIONS_LINK_REFUSED'])
  t.notOk(service.called.has('POST /auth/refresh'), 'a refusal of a link leads to no refresh')
  t.same(await page.evaluate('changes'), [], 'and signs nobody out')

  t.equal(await logIn(page, newPassword), 'signed-in')
  const change = (current: string) =>
    run(
      page,
      `client.changePassword({ current: '${current}', password: '${password}' }).catch(${refusal})`,
    )
  t.same(await change('a wrong password'), [403, 'PARAPET_SESSIONS_PROOF_REQUIRED'])
  t.equal(await change(newPassword), undefined)
  t.match(await run(page, 'client.listSessions()'), [{ current: true }], 'it keeps its session')

  const email = 'ada@elsewhere.example'
  await run(page, `client.requestEmailChange({ current: '${password}', email: '${email}' })`)
  const link = (await mailbox.next('change')).token
  t.equal(await run(page, `client.verifyEmail({ token: '${link}' })`), undefined)
  const undo = (await mailbox.next('email_changed')).token
  t.equal(await run(page, `client.undoEmailChange('${undo}')`), undefined)
  t.same(await run(page, `client.listSessions().catch(${refusal})`), [
    401,
    'PARAPET_SESSIONS_UNAUTHENTICATED',
  ])
  t.equal(await page.evaluate('changes.at(-1)'), 'signed-out')
})

await t.test('a page verifies an address, and logs in by a link', async (t) => {
  const service = await start(t)
  if (service === null) return
  const { mailbox } = service
  const page = await service.open()
  await run(page, `client.requestEmailVerification('new@example.com')`)
  const { token } = await mailbox.next('verify')
  const verify = (secret: string) =>
    run(page, `client.verifyEmail({ token: '${token}', password: '${secret}' }).catch(${refusal})`)
  t.same(await verify('a wrong password'), [401, 'PARAPET_SESSIONS_LOGIN_FAILED'])
  t.equal(await verify(password), undefined)

  await run(page, `client.requestMagicLink('new@example.com')`)
  const magic = (await mailbox.next('magic')).token
  t.equal(await state(page, `finishMagicLink('${magic}')`), 'signed-in')
  t.same(await page.evaluate('changes'), ['signed-in'])
  t.same(await run(page, `client.finishMagicLink('${magic}').catch(${refusal})`), [
    401,
    'PARAPET_SESSIONS_LINK_REFUSED',
  ])
  t.match(await run(page, 'client.listSessions()'), [{ current: true }])
})

await t.test('every route for pages has a call', async (t) => {
  const service = await start(t)
  if (service === null) return
  const page = await service.open()
  await logIn(page, password)
  const text = `'${'a'.repeat(22)}'`
  for (const call of [
    `requestPasswordReset('a@example.com')`,
    `resetPassword({ token: ${text}, password: ${text} })`,
    `requestEmailVerification('a@example.com')`,
    `verifyEmail({ token: ${text} })`,
    `undoEmailChange(${text})`,
    `changePassword({ current: ${text}, password: ${text} })`,
    `requestEmailChange({ current: ${text}, email: 'b@example.com' })`,
    `requestMagicLink('a@example.com')`,
    `finishMagicLink(${text})`,
    `finishLogin({ ticket: ${text}, code: '123456' })`,
    `finishLoginWithPasskey({ ticket: ${text} })`,
    'refresh()',
    'listSessions()',
    `nameDevice(${text}, 'desk')`,
    `endSession(${text})`,
    'endOtherSessions()',
    `stepUp('acme')`,
    'listIdentities()',
    `linkIdentity('acme')`,
    `unlinkIdentity(${text})`,
    'logoutAtProvider()',
    'logout()',
  ]) {
    await run(page, `client.${call}.catch(() => {})`)
  }
  t.ok(service.routes.size > 25, `${service.routes.size} routes`)
  const missing = [...service.routes]
    .filter((route) => route.includes(' /auth/') && !NOT_FOR_SCRIPTS.has(route))
    .filter((route) => !service.called.has(route))
  t.same(missing, [])
})

await t.test('the browser closes', async (t) => {
  await closeBrowser()
  t.pass()
})
