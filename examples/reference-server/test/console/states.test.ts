/**
 * What the console shows when something is not as it should be: odd links, rights that are missing or were
 * taken away, texts of an attacker, a server that is silent, and a person without a mouse.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { BrowserContext, Page } from 'playwright-core'
import { API } from '../../src/http/api.ts'
import { findPort, launch, openPage } from '../support/browser.ts'
import { createTestApp, openDatabase, password } from '../support/test-app.ts'

const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name })
const show = (page: Page, hash: string) => page.evaluate(`location.hash = '#/${hash}'`)
const XSS = '<img src=x onerror="document.title=1">'

await t.test('the states of the console', states)

/** A way to the server that can be blocked: connections stay open, and no byte arrives any more. */
async function createWay(t: Test, from: number, to: number) {
  const sockets = new Set<Socket>()
  let isBlocked = false
  const server = createServer((client) => {
    const upstream = connect(to, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
    client.on('data', (data) => void (isBlocked || upstream.write(data)))
    upstream.on('data', (data) => void (isBlocked || client.write(data)))
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => isBlocked || client.destroy())
  })
  await once(server.listen(from, '127.0.0.1'), 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    block: () => void (isBlocked = true),
    unblock() {
      isBlocked = false
      for (const socket of sockets) socket.destroy()
    },
  }
}

async function states(t: Test): Promise<void> {
  const browser = await launch(t)
  if (browser === null) return
  const directory = mkdtempSync(join(tmpdir(), 'console-states-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const database = await openDatabase(t)
  const [port, inner] = [await findPort(), await findPort()]
  const origin = `http://localhost:${port}`
  const env = { AUDIT_DIR: directory, PUBLIC_URL: origin }
  const { app, ask, register } = await createTestApp(t, database, env)
  await app.listen({ port: inner, host: '127.0.0.1' })
  const way = await createWay(t, port, inner)

  const users = {
    admin: await register('admin'),
    second: await register('admin'),
    viewer: await register('viewer'),
  }
  for (const [name, { id }] of Object.entries(users)) {
    const roles = name === 'viewer' ? ['viewer'] : ['admin']
    await database.sql.query('UPDATE users SET roles = $2, display_name = $3 WHERE id = $1', [
      id,
      roles,
      `${name} ${XSS}`,
    ])
  }
  /** Six logins in a minute would be one too many, so each user signs in once. */
  const signedIn = new Map<string, Awaited<ReturnType<BrowserContext['storageState']>>>()
  const signInAs = async (page: Page, who: keyof typeof users) => {
    await page.getByLabel('E-mail address').fill(users[who].email)
    await page.getByLabel('Password').fill(password)
    await page.getByLabel('Password').press('Enter')
    await page.getByLabel('Password').waitFor({ state: 'detached' })
    signedIn.set(who, await page.context().storageState())
  }
  const open = async (t: Test, who: keyof typeof users, hash = '', hasClock = false) => {
    const storageState = signedIn.get(who)
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      ...(storageState !== undefined && { storageState }),
    })
    t.after(() => context.close())
    if (hasClock) await context.clock.install()
    const opened = await openPage(context)
    await opened.page.goto(`${origin}/console#/${hash}`)
    if (storageState === undefined) await signInAs(opened.page, who)
    return opened
  }

  await t.test('a link with an odd id sends no request and breaks no page', async (t) => {
    const { page, errors } = await open(t, 'admin')
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
    const paths: string[] = []
    page.on('request', (request) => void paths.push(new URL(request.url()).pathname))
    for (const hash of ['incidents/%zz', 'incidents/..%2Fusers', 'incidents/a/b', 'nope', '?']) {
      await page.goto(`${origin}/console#/${hash}`)
      await page.getByText('No such page').waitFor()
      await page.reload()
      await page.getByText('No such page').waitFor()
    }
    t.notOk(paths.some((path) => /incidents|users$/.test(path)))
    t.same(errors, [])
  })

  await t.test('texts of an attacker stay texts on every page', async (t) => {
    const { contain } = app.anomaly
    await contain.blockAddress('192.0.2.9', { reason: XSS, by: XSS, ttlMs: 600_000 })
    await app.incidents.report({ type: 'brute_force', severity: 'high', title: XSS, by: 'test' })
    await app.audit.record('test.done', { resource: XSS, resourceId: XSS, data: { text: XSS } })
    await app.audit.flush()
    await app.inject({
      method: 'POST',
      url: `${API}/auth/login`,
      headers: { 'user-agent': XSS },
      payload: { login: users.viewer.email, password },
    })
    const { page, errors } = await open(t, 'admin')
    await page.getByRole('navigation', { name: 'Pages' }).waitFor()
    const shown: Record<string, boolean> = {}
    for (const hash of ['', 'feed', 'incidents', 'anomalies', 'blocks', 'audit', 'sessions']) {
      await page.goto(`${origin}/console#/${hash}`)
      await page.locator('.skeleton').first().waitFor({ state: 'detached' })
      if (hash === 'sessions') {
        await page.getByRole('button', { name: /^.?viewer / }).click()
        await page.locator('[title*="<img"]').first().waitFor()
      }
      if (hash === 'incidents') await page.getByText(XSS).first().waitFor()
      shown[hash] = (await page.getByText('<img src=x').count()) > 0
      t.equal(await page.locator('img').count(), 0, hash)
    }
    t.match(shown, { incidents: true, blocks: true, audit: true, sessions: true })
    t.notMatch(await page.title(), /^1$/)
    const noticed = app.consoleRecords.events.list({ source: 'input_guard' }, 500)
    const removed = noticed.filter(({ type }) => type === 'input_guard.field_removed')
    t.same(
      removed.map(({ route, details }) => [route, details['field']]),
      [],
      'who looks at the console causes no event',
    )
    t.same(errors, [])
  })

  await t.test('a viewer sees only that it may not use the console', async (t) => {
    const { page } = await open(t, 'viewer', 'audit')
    await page.getByText('Your account may not read').waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in to the console' }).waitFor()
  })

  await t.test('an administrator whose role is taken away sees nothing any more', async (t) => {
    const { page } = await open(t, 'second', 'incidents')
    await page.getByText('live', { exact: true }).waitFor()
    const refused: string[] = []
    page.on('response', (response) => {
      if (response.status() === 403) refused.push(new URL(response.url()).pathname)
    })
    const body = { roles: ['viewer'] }
    const { status } = await ask(
      users.admin.headers,
      'PUT',
      `${API}/users/${users.second.id}/roles`,
      body,
    )
    t.equal(status, 200)
    await page.getByText('Your account may not read').waitFor()
    t.equal(await page.getByRole('navigation').count(), 0)
    t.ok(refused.length <= 2, 'it does not ask again and again')
  })

  await t.test('what the user may not do is not offered', async (t) => {
    const { page } = await open(t, 'admin')
    await page.route('**/console/me', async (route) => {
      const response = await route.fetch()
      if (response.status() !== 200) return route.fulfill({ response })
      const me = (await response.json()) as object
      return route.fulfill({ response, json: { ...me, permissions: ['security:read'] } })
    })
    await page.goto(`${origin}/console#/audit`)
    await page.reload()
    await page.getByText('Your roles lack the permission “audit:read”.').waitFor()
    const links = await page.getByRole('navigation').getByRole('link').allTextContents()
    t.notOk(
      links.some((link) => /Audit|Incidents|Privacy/.test(link)),
      links.join(),
    )
    await page.goto(`${origin}/console#/blocks`)
    await page.getByText('192.0.2.9').waitFor()
    t.equal(await page.getByRole('button', { name: /Unblock|Block an/ }).count(), 0)
  })

  await t.test('what cannot be taken back is asked first, and the focus returns', async (t) => {
    const { page, errors } = await open(t, 'admin', 'incidents')
    await page.getByRole('link', { name: XSS }).press('Enter')
    await page.getByRole('heading', { level: 1, name: XSS }).waitFor()
    // Closing it as resolved would be refused in this phase.
    t.equal(await page.getByRole('button', { name: 'Close as resolved' }).count(), 0)
    const close = page.getByRole('button', { name: 'False alarm' })
    await close.press('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    const focused = () => page.evaluate<string>('document.activeElement.textContent')
    t.equal(await focused(), 'False alarm')
    t.equal((await app.incidents.list({ state: 'closed' })).length, 0)
    await close.press('Enter')
    await page.getByRole('dialog').getByRole('button', { name: 'False alarm' }).press('Enter')
    await close.waitFor({ state: 'detached' })
    await page.waitForFunction('document.activeElement.tagName === "H1"')
    t.equal((await app.incidents.list({ state: 'closed' })).length, 1)
    await page.goBack()
    await page.getByRole('heading', { level: 1, name: 'Incidents' }).waitFor()
    t.same(errors, [])
  })

  await t.test(
    'the first event of a kind and a flood of events each cost few requests',
    async (t) => {
      const { page } = await open(t, 'admin', 'blocks')
      await page.getByText('live', { exact: true }).waitFor()
      await page.getByText('192.0.2.9').waitFor()
      let requests = 0
      page.on('request', (request) => {
        if (request.url().includes('/console/containments?')) requests++
      })
      const { contain } = app.anomaly
      for (let at = 1; at <= 30; at++) {
        await contain.blockAddress(`192.0.2.${100 + at}`, {
          reason: 'flood',
          by: 'test',
          ttlMs: 600_000,
        })
      }
      await page.getByText('31 found', { exact: true }).waitFor()
      t.ok(requests > 0 && requests <= 3, `${requests} requests for 30 events`)
      await page.getByLabel('Contains').fill('192.0.2.117')
      await page.getByText('1 found', { exact: true }).waitFor()
    },
  )

  await t.test('a server that is silent is noticed, and what was shown stays', async (t) => {
    const { page } = await open(t, 'admin', 'blocks', true)
    await page.getByText('live', { exact: true }).waitFor()
    await page.getByText('192.0.2.9', { exact: true }).waitFor()
    way.block()
    await page.clock.runFor(25_000)
    await page.getByText('reconnecting', { exact: true }).waitFor()
    t.equal(await page.getByText('192.0.2.9', { exact: true }).count(), 1)
    way.unblock()
    const live = page.getByText('live', { exact: true })
    for (let turn = 0; turn < 60 && !(await live.isVisible()); turn++) {
      await page.clock.runFor(1000)
      await live.waitFor({ timeout: 500 }).catch(() => {})
    }
    t.ok(await live.isVisible())
  })

  await t.test('a long title stays on a narrow page', async (t) => {
    const title = 'W'.repeat(150)
    const { id } = await app.incidents.report({
      type: 'brute_force',
      severity: 'high',
      title,
      by: 'test',
    })
    const { page } = await open(t, 'admin', `incidents/${id}`)
    await page.setViewportSize({ width: 400, height: 800 })
    const box = await page.getByRole('heading', { level: 1, name: title }).boundingBox()
    t.ok(box !== null && box.x + box.width <= 400, JSON.stringify(box))
  })

  // The last one: it exchanges the refresh token that the tests above share.
  await t.test('tabs share a session, which only a refusal ends', async (t) => {
    const { page } = await open(t, 'admin', 'blocks')
    const { page: other } = await openPage(page.context())
    await other.goto(`${origin}/console#/blocks`)
    for (const each of [page, other]) await heading(each, 'Block list').waitFor()

    await page.context().clearCookies({ name: '__Host-session' })
    await page.route('**/auth/refresh', (route) => route.fulfill({ status: 503 }))
    await show(page, 'keys')
    await page.getByText('The server answered 503.').first().waitFor()
    await heading(page, 'Keys and jobs').waitFor()
    await page.unroute('**/auth/refresh')

    await Promise.all([page, other].map((each) => show(each, 'sessions')))
    for (const each of [page, other]) {
      await each.getByText('this one').waitFor()
      await heading(each, 'Sessions').waitFor()
    }
    await page.getByRole('button', { name: 'Sign out' }).click()
    for (const each of [page, other]) await heading(each, 'Sign in to the console').waitFor()
    await signInAs(page, 'admin')
    await heading(other, 'Sessions').waitFor()

    await page.route('**/console/containments?*', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<p>Sign in to the proxy' }),
    )
    await show(page, 'blocks')
    await page.getByText('The answer is not from the API.').waitFor()
  })
}
