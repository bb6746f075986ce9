/**
 * A person in a real browser: signs in, enrols factors, acknowledges an incident and ends a step of its
 * playbook, decides on data requests, ends a block, verifies the audit trail and sees an edit of it
 * refused; on every page, in both themes and at two widths, axe finds nothing, and the policy of the page
 * is never violated. `PARAPET_SCREENSHOTS=1` writes the pictures to `docs/images`.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock, type Clock } from '@parapet/kit'
import { TOTP } from 'otpauth'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { API } from '../../src/http/api.ts'
import { findPort, launch, openPage } from '../support/browser.ts'
import { createTestApp, openDatabase, type TestDatabase } from '../support/test-app.ts'
import { fillWithLife } from './life.ts'

const MINUTE_MS = 60_000
const login = 'admin@server.localhost'
const password = 'correct horse battery staple'
const images =
  process.env['PARAPET_SCREENSHOTS'] === '1'
    ? fileURLToPath(new URL('../../../../docs/images', import.meta.url))
    : mkdtempSync(join(tmpdir(), 'console-images-'))
const axeSource = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
)

const PAGES: readonly (readonly [hash: string, title: RegExp])[] = [
  ['', /\w/],
  ['feed', /Live feed/],
  ['incidents', /Incidents/],
  ['anomalies', /Anomalies/],
  ['access', /Access/],
  ['sessions', /Sessions/],
  ['keys', /Keys and jobs/],
]

/** What a user asks for: the first is approved, the second is rejected, the third needs no decision. */
const REQUESTS = [
  { type: 'rectification', details: { changes: { users: { displayName: 'Corrected Name' } } } },
  { type: 'restriction' },
  { type: 'access' },
]

await t.test('a person walks through the console', walk)

async function walk(t: Test): Promise<void> {
  const browser = await launch(t)
  if (browser === null) return
  mkdirSync(images, { recursive: true })
  const directory = mkdtempSync(join(tmpdir(), 'console-walk-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const database = await openDatabase(t)
  const port = await findPort()
  // The counters live through an hour before the walk begins; everything else has the time of the machine.
  let offset = -60 * MINUTE_MS
  const clock: Clock = { now: () => Date.now() + offset, schedule: systemClock.schedule }
  const origin = `http://localhost:${port}`
  const env = {
    AUDIT_DIR: directory,
    PUBLIC_URL: origin,
    ADMIN_EMAIL: login,
    ADMIN_PASSWORD: password,
  }
  const { app, ask, logIn, register } = await createTestApp(t, database, env, { clock })
  for (; offset < 0; offset += MINUTE_MS) await fillWithLife(app, 60 + offset / MINUTE_MS)
  offset = 0
  await app.anomaly.settle()
  await app.incidents.settle()
  const name = 'viewer'
  const subject = await register(name)
  for (const body of REQUESTS) {
    const { status } = await ask(subject.headers, 'POST', `${API}/privacy/requests`, body)
    t.equal(status, 201, `asks for ${body.type}`)
  }
  await app.listen({ port, host: '127.0.0.1' })

  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    colorScheme: 'dark',
  })
  t.after(() => context.close())
  const { page, errors } = await openPage(context)
  const cdp = await context.newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      ctap2Version: 'ctap2_1',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  /** Errors that Chromium logs for a request that is refused on purpose. */
  const expectRefusal = async (work: () => Promise<unknown>) => {
    await work()
    const at = errors.findIndex((text) => /status of 40[13]/.test(text))
    t.not(at, -1, 'the refusal was logged')
    errors.splice(at, 1)
  }
  const button = (name: string | RegExp) => page.getByRole('button', { name })
  const visit = async (hash: string, title: string | RegExp) => {
    await page.goto(`${origin}/console#/${hash}`)
    await page.getByRole('heading', { level: 1, name: title }).waitFor()
  }

  await t.test('signs in with a password; a wrong one is refused', async () => {
    await page.goto(`${origin}/console`)
    await page.getByLabel('E-mail address').fill(login)
    await page.getByLabel('Password').fill('wrong')
    await expectRefusal(async () => {
      await button('Sign in').first().click()
      await page.getByRole('alert').filter({ hasText: /\w/ }).waitFor()
    })
    await look(t, page, 'sign-in')
    await page.getByLabel('Password').fill(password)
    await button('Sign in').first().click()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
  })

  await t.test('enrols an authenticator app by its QR code, then a passkey', async (t) => {
    await visit('account', 'Your account')
    await button('Enrol an app').click()
    await page.getByRole('img', { name: 'QR code for the authenticator app' }).waitFor()
    await look(t, page, 'enrolment')
    const secret = await page.locator('.enrol .break').first().textContent()
    const totp = new TOTP({ secret: secret! })
    await page.getByLabel('Code of your authenticator app, or a backup code').fill(totp.generate())
    await button('Enrol').last().click()
    await button('Replace it').waitFor()
    await button('Add a passkey').click()
    await page.getByText(/^Passkey of/).waitFor()
  })

  await t.test('signs out, and in with the passkey alone', async () => {
    await button('Sign out').click()
    await button('Sign in with a passkey').click()
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
  })

  await t.test('acknowledges an incident, and ends a step of its playbook', async (t) => {
    await visit('incidents', 'Incidents')
    await button('Acknowledge Brute force').click()
    const card = page.locator('.card').filter({ hasText: 'Brute force' })
    await card.getByText(/^Acknowledged by/).waitFor()
    await page.getByRole('link', { name: 'Brute force' }).click()
    await page.getByRole('heading', { level: 1, name: 'Brute force' }).waitFor()
    await button('Approve: Capture logs').click()
    const run = page.getByRole('region', { name: 'Run 1: brute_force' })
    const step = run.getByRole('listitem').filter({ hasText: 'Capture logs' })
    await step.getByText('done', { exact: true }).waitFor()
    // The server blocks the addresses by itself; the next decision is that of a person again.
    await button(/^Approve: Compare successful logins/).waitFor()
    await settle(page)
    await look(t, page, 'incident')

    const { id } = await readAdmin(database)
    const [incident] = await app.incidents.list({ type: 'brute_force' })
    t.match(incident, { acknowledgedBy: id, phase: 'eradication' })
    const runs = await app.incidents.runs(incident!.id)
    const playbook = runs.find(({ kind }) => kind === 'playbook')!
    t.match(playbook.steps[0], { title: 'Capture logs', state: 'done', by: id })
    const blocked = app.anomaly.contain.list().map(({ target }) => target.value)
    t.ok(blocked.includes('203.0.113.61'))
  })

  await t.test('decides on data requests', async (t) => {
    await visit('privacy', 'Privacy requests')
    const card = (type: string) => page.locator('.card').filter({ hasText: type })
    await card('Access').getByText('ready', { exact: true }).waitFor()
    t.equal(await card('Access').getByRole('button').count(), 0, 'nothing is left to decide')
    await look(t, page, 'privacy')
    await button('Approve the rectification request').click()
    await button('Reject the restriction request').click()
    await page.getByLabel('Reason, which the person is sent').fill('The account is closed already')
    await page.getByRole('dialog').getByRole('button', { name: 'Reject' }).click()
    await card('Restriction').waitFor({ state: 'detached' })
    await button('closed').click()
    await card('Rectification').getByText('completed', { exact: true }).waitFor()
    await card('Restriction').getByText('rejected', { exact: true }).waitFor()

    const { body } = await ask(subject.headers, 'GET', `${API}/users/me`)
    t.equal(body['displayName'], 'Corrected Name')
    const { items } = (await ask(subject.headers, 'GET', `${API}/privacy/requests`)).body as {
      readonly items: readonly { readonly type: string; readonly state: string }[]
    }
    const states = Object.fromEntries(items.map(({ type, state }) => [type, state]))
    t.same(states, { rectification: 'completed', restriction: 'rejected', access: 'ready' })
  })

  await t.test('ends a block', async (t) => {
    await visit('blocks', 'Block list')
    await look(t, page, 'blocks')
    await button('Unblock 203.0.113.66').click()
    await page.getByText('203.0.113.66 is lifted').waitFor()
    const blocked = app.anomaly.contain.list().map(({ target }) => target.value)
    t.notOk(blocked.includes('203.0.113.66'))
  })

  await t.test('says that every part is up', async (t) => {
    await visit('', /\w/)
    const states = page.getByRole('list', { name: 'State of the service' }).getByRole('listitem')
    await states.filter({ hasText: 'load' }).waitFor()
    const texts = ['database is up', 'store is up', 'audit log is up', 'load is normal']
    t.same(
      (await states.allTextContents()).map((text) => text.trim()),
      texts,
    )
  })

  for (const [hash, title] of PAGES) {
    await t.test(`shows ${title}`, async (t) => {
      await visit(hash, title)
      await settle(page)
      await look(t, page, hash === '' ? 'overview' : hash)
    })
  }

  await t.test('verifies the audit trail, and refuses it after a row was edited', async (t) => {
    // One of the newest entries, so that it is on the first page.
    t.equal((await logIn(login, 'a guess')).status, 401)
    await app.audit.flush()
    // Read now: a failure that is recorded later is in a newer log than the page has read.
    const { rows } = await database.sql.query<{ index: string }>(
      `SELECT max(index)::text AS index FROM audit_log_events WHERE result = 'failure'`,
    )
    await visit('audit', 'Audit trail')
    const seal = page.getByRole('region', { name: 'Verification' })
    await seal.getByText('Consistent, but the key is new').waitFor()
    await seal.getByText(app.audit.verifierKey).first().waitFor()
    await button('Trust this key').click()
    await seal.getByText('Verified', { exact: true }).waitFor()
    await page.reload()
    await seal.getByText('Verified', { exact: true }).waitFor()
    await look(t, page, 'audit')
    await button('Verify every entry').click()
    await seal.getByText('How this was checked').click()
    await seal.getByText(/entries were fetched and hashed; each is in the signed tree/).waitFor()

    await database.sql.query(
      `UPDATE audit_log_events SET leaf = replace(leaf, '"failure"', '"success"') WHERE index = $1`,
      [rows[0]!.index],
    )
    // The same log once more: the bundle must not come from the cache of the browser.
    await button('Verify every entry').click()
    await seal.getByText('Refused: the log was tampered with').waitFor()
    await seal.getByText(/^All entries Edited or missing: #\d+\.$/).waitFor()
    await button('Read again').click()
    await page.getByText('was edited after it was signed').first().waitFor()
    await look(t, page, 'audit-refused')

    const index = Number(await page.locator('.row-refused code').first().textContent())
    await database.sql.query('DELETE FROM audit_log_events WHERE index = $1', [index])
    await button('Read again').click()
    await seal.getByText(`Signed, but not on this page: #${index}.`).waitFor()
    await seal.getByText('Refused: the log was tampered with').waitFor()
  })

  t.same(errors, [], 'no error, no warning, and no violation of the policy')
}

async function readAdmin({ sql }: TestDatabase): Promise<{ readonly id: string }> {
  const text = 'SELECT id::text AS id FROM users WHERE email = $1'
  return (await sql.query<{ id: string }>(text, [login])).rows[0]!
}

/** Waits until nothing loads any more, and no message covers the page. */
async function settle(page: Page): Promise<void> {
  await page.locator('.skeleton').first().waitFor({ state: 'detached' })
  await page.locator('.notice').first().waitFor({ state: 'detached' })
}

/** Takes pictures, and lets axe look, in both themes and at two widths. */
async function look(t: Test, page: Page, name: string): Promise<void> {
  for (const theme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
    for (const width of [1440, 400]) {
      await page.setViewportSize({ width, height: 900 })
      await page.evaluate(
        'new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))',
      )
      const wider = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
      t.ok(wider <= 0, `${name}, ${theme}, ${width}: nothing is wider than the page`)
      await page.screenshot({ path: join(images, `console-${name}-${theme}-${width}.png`) })
      const violations = await page.evaluate<string[]>(`${axeSource}; axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      }).then(({ violations }) => violations.map(({ id, nodes }) =>
        id + ': ' + nodes.slice(0, 4).map((node) => node.html.slice(0, 160) + ' ' + node.failureSummary).join(' | ')))`)
      t.same(violations, [], `${name}, ${theme}, ${width}: axe finds nothing`)
    }
  }
  await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' })
  await page.setViewportSize({ width: 1440, height: 900 })
}
