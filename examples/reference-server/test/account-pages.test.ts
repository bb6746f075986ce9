/** The pages behind the links of messages, in a real browser: scanners change nothing, people finish. */
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import t from 'tap'
import { launch, openPage } from './support/browser.ts'
import { createTestApp, openDatabase, password } from './support/test-app.ts'

const database = await openDatabase(t)
const axeSource = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
)
const newPassword = 'seven purple tandem otters'

async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The link of a message. */
function linkIn(text: string): string {
  const [link] = /https?:\/\/\S+#token=\S+/.exec(text) ?? []
  if (link === undefined) throw new Error('the message has no link')
  return link
}

async function findViolations(page: Page): Promise<unknown> {
  await page.evaluate(axeSource)
  return page.evaluate(`axe.run().then(({ violations }) =>
    violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))`)
}

await t.test('a GET of a link changes nothing and has no script of its own', async (t) => {
  const { ask } = await createTestApp(t, database)
  for (const name of ['new-password', 'verify', 'undo']) {
    const { status, text, headers } = await ask({}, 'GET', `/account/${name}`)
    t.equal(status, 200)
    t.match(headers, {
      'content-type': 'text/html; charset=utf-8',
      'referrer-policy': 'no-referrer',
    })
    const policy = String(headers['content-security-policy'])
    t.match(policy, /script-src 'nonce-/)
    t.notMatch(policy, 'unsafe')
    t.notMatch(text, /<script(?![^>]* src=)|<style| style=| on\w+=/)
    t.match(text, /<noscript>/)
    // A browser without the script must not put a password into a URL.
    for (const [form] of text.matchAll(/<form[^>]*>/g)) t.match(form, 'method="post"')
    for (const [button] of text.matchAll(/<button[^>]*>/g)) t.match(button, 'disabled')
    t.equal((await ask({}, 'POST', `/account/${name}`, {})).status, 405)
  }
})

await t.test('people sign up, forget, change and take back by links', async (t) => {
  const browser = await launch(t)
  if (browser === null) return
  const port = await findPort()
  const origin = `http://localhost:${port}`
  const server = await createTestApp(t, database, { PUBLIC_URL: origin })
  const { app, ask, mailbox, logIn } = server
  await app.listen({ port, host: '127.0.0.1' })
  const context = await browser.newContext({ viewport: { width: 390, height: 800 } })
  const { page, errors } = await openPage(context)
  const email = 'ada@example.com'
  const mail = async (to: string, text: RegExp) => linkIn((await mailbox.find(to, text)).text)
  const press = (name: string) => page.getByRole('button', { name }).click()
  const says = (text: string) => page.getByRole('status').getByText(text).waitFor()
  const open = async (link: string) => {
    // As a scanner does it: nothing is used up.
    await ask({}, 'GET', link.slice(origin.length).split('#', 1)[0]!)
    await page.goto('about:blank')
    await page.goto(link)
    await page.getByRole('button').first().waitFor()
    t.equal(page.url().includes('token'), false, 'the address bar has no token')
    t.same(await findViolations(page), [])
  }

  await ask({}, 'POST', '/api/v1/users', { email, displayName: 'Ada', password })
  const verification = await mail(email, /Verify your address/)
  await open(verification)
  await page.getByLabel('The password of your sign-up').fill('not the password')
  await press('Verify')
  await page.getByRole('alert').getByText(/./).waitFor()
  await page.reload()
  await page.getByLabel('The password of your sign-up').fill(password)
  await press('Verify')
  await says('Your address is verified.')
  const login = await logIn(email, password)
  t.equal(login.status, 200)

  // A used link offers another one, and a page without a link does, too.
  await open(verification)
  await page.getByLabel('The password of your sign-up').fill(password)
  await press('Verify')
  await page.getByLabel('E-mail address').waitFor()
  await page.goto(`${origin}/account/new-password`)
  await page.getByLabel('E-mail address').fill(email)
  await press('Send the link')
  await says('If the address has an account')

  await open(await mail(email, /Set a new password within/))
  await page.getByLabel('New password').fill('passwordpassword')
  await press('Set the password')
  await page.getByRole('alert').getByText(/./).waitFor()
  await page.getByLabel('New password').fill(newPassword)
  await page.keyboard.press('Enter')
  await says('The new password is set.')

  const { body } = await logIn(email, newPassword)
  const headers = { authorization: `Bearer ${String(body['access_token'])}` }
  const change = { email: 'ada@elsewhere.example', current: newPassword }
  t.equal((await ask(headers, 'POST', '/api/v1/auth/email', change)).status, 202)
  await open(await mail(change.email, /Use this address/))
  t.equal(await page.locator('input:visible').count(), 0)
  await press('Verify')
  await says('The account has this address now.')
  await open(await mail(email, /go to another address now/))
  await press('Take it back')
  await says('The change is taken back.')
  await page.goto(`${origin}/account/undo`)
  await page.getByRole('alert').getByText('The link is not complete').waitFor()
  // Chromium reports each refused answer; anything else would be a fault of the pages.
  t.same(
    errors.filter((text) => !/status of 40[01]/.test(text)),
    [],
  )
})
