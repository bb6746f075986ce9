/** Tests the preset `web` in a real browser. */
import type { AddressInfo } from 'node:net'
import type { SecurityEvent } from '@parapet/kit'
import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyInstance, type RouteHandlerMethod } from 'fastify'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { launch, open } from './chromium.ts'
import { serveBuild, writeBuild } from './vite-site.ts'

type Violation = SecurityEvent<'security_headers.violation_reported'>

interface Site {
  readonly url: string
  readonly app: FastifyInstance
  readonly violations: Violation[]
  readonly handled: string[]
}

/** Code injected in ten different ways. Each of them sets a mark if it runs. */
const INJECTED = [
  '<script>marks.push("inline")</script>',
  '<img src=x onerror=\'marks.push("attribute")\'>',
  '<svg onload=\'marks.push("svg")\'></svg>',
  '<a id=link href=\'javascript:marks.push("url")\'>a</a>',
  '<iframe srcdoc="<script>parent.marks.push(1)</script>"></iframe>',
  '<script src="/uploads/evil.js"></script>',
  '<object data="data:text/html,<script>1</script>"></object>',
  '<base href="https://evil.example/">',
  '<style>body { background: red }</style>',
  '<details open ontoggle=\'marks.push("toggle")\'>a</details>',
].join('\n')

/** A handler that sends a page. */
function page(body: (nonce: string) => string): RouteHandlerMethod {
  return (_request, reply) =>
    reply
      .type('text/html')
      .send(`<!doctype html><link rel="icon" href="/icon.png">${body(reply.cspNonce.script)}`)
}

async function serve(t: Test): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(securityHeaders, { preset: 'web', reports: {} })
  const violations: Violation[] = []
  app.securityEvents.on(
    'security_headers.violation_reported',
    (event) => void violations.push(event),
  )
  const handled: string[] = []
  app.addHook('preHandler', async ({ method, routeOptions: { url } }) => {
    if (url !== '/_reports') handled.push(`${method} ${url}`)
  })
  app.get(
    '/',
    page(
      (nonce) => `<title>good</title><script nonce="${nonce}" src="/app.js"></script>
    <style nonce="${nonce}">h1 { color: rgb(1, 2, 3) }</style><h1>a</h1>`,
    ),
  )
  app.get('/app.js', async (_request, reply) =>
    reply.type('text/javascript').send(`
    window.marks = ['app']
    import('/more.js')
      .then(() => fetch('/data'))
      .then((r) => r.json())
      .then(({ data }) => marks.push(data))
      .then(() => fetch('/done'))`),
  )
  app.get('/done', async () => 'done')
  app.get('/more.js', async (_request, reply) =>
    reply.type('text/javascript').send(`marks.push('more')`),
  )
  app.get('/icon.png', async (_request, reply) => reply.code(204).send())
  app.get('/data', async () => ({ data: 'data' }))
  app.post('/data', async () => ({ data: 'changed' }))
  app.get(
    '/injected',
    page((nonce) => `<script nonce="${nonce}">window.marks = []</script>${INJECTED}`),
  )
  app.get('/uploads/evil.js', async (_request, reply) =>
    reply.type('text/javascript').send('marks.push("upload")'),
  )
  app.get(
    '/trusted',
    page(
      (nonce) => `<script nonce="${nonce}">window.marks = []
    try { document.body.innerHTML = '<img src=x onerror=marks.push(1)>' } catch { marks.push('refused') }</script>`,
    ),
  )
  app.get(
    '/csrf',
    page(() => `<p>plain</p>`),
  )
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  return { url, app, violations, handled }
}

/** Serves a page of another site: the host name differs. */
async function serveForeign(t: Test, target: string): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  app.get('/', async (_request, reply) =>
    reply.type('text/html').send(`<!doctype html><title>evil</title><link rel="icon" href="data:,">
      <form id="form" method="post" action="${target}/data" enctype="text/plain"><input name="a" value="b"></form>
      <a id="link" href="${target}/">a link</a><img id="image" src="${target}/data">
      <script src="${target}/app.js"></script><iframe src="${target}/"></iframe>`),
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(() => app.close())
  return `http://localhost:${(app.server.address() as AddressInfo).port}`
}

const marksOf = (page: Page) => page.evaluate('window.marks')

/** Asks from outside: `waitForFunction` polls by `eval` in the page, which its policy refuses. */
async function becomesTrue(page: Page, expression: string): Promise<void> {
  while ((await page.evaluate(expression)) !== true) await new Promise(setImmediate)
}

await t.test('a browser runs the build of a single-page app, and nothing injected', async (t) => {
  const browser = await launch(t)
  if (browser === null) return
  const folder = writeBuild(t)
  const app = await serveBuild(t, folder)
  app.get('/injected', async (_request, reply) =>
    reply
      .type('text/html')
      .send('<script src="/assets/evil.js"></script><script>marks = 1</script>'),
  )
  app.get('/icon.png', async (_request, reply) => reply.code(204).send())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const path of ['/', '/deep/link', '/']) {
    const { page, errors } = await open(browser)
    await page.goto(`${url}${path}`)
    await becomesTrue(page, 'document.title === "started"')
    await becomesTrue(page, 'window.marks.includes("icon")')
    t.same(
      ((await marksOf(page)) as string[]).toSorted(),
      ['icon', 'inline', 'main', 'page shared deeper', 'shared'],
      path,
    )
    t.equal(
      await page.evaluate('getComputedStyle(document.querySelector("h1")).color'),
      'rgb(4, 5, 6)',
    )
    t.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(1, 2, 3)')
    t.equal(
      await page.evaluate('getComputedStyle(document.getElementById("app")).color'),
      'rgb(7, 8, 9)',
    )
    t.same(errors, [])
    await page.reload()
    await becomesTrue(page, 'document.title === "started"')
    t.same(errors, [], 'after a reload')
  }
  const { page } = await open(browser)
  await page.goto(`${url}/injected`)
  t.equal(await marksOf(page), undefined)
})

await t.test('a browser runs code with the nonce and no injected code', async (t) => {
  const browser = await launch(t)
  if (browser === null) return
  const site = await serve(t)
  await t.test('a page with nonces works without errors', (t) => checkPage(t, browser, site))
  await t.test('injected code does not run, and the violations are reported', (t) =>
    checkInjections(t, browser, site),
  )
  await t.test('Trusted Types keep text from becoming markup', async (t) => {
    const { page } = await open(browser)
    await page.goto(`${site.url}/trusted`)
    t.same(await marksOf(page), ['refused'])
  })
  await t.test('a page of another site cannot send requests, but its link works', (t) =>
    checkForeignPage(t, browser, site),
  )
})

async function checkPage(t: Test, browser: Browser, { url, violations }: Site): Promise<void> {
  const { page, errors } = await open(browser)
  await Promise.all([page.waitForResponse(`${url}/done`), page.goto(url)])
  t.same(((await marksOf(page)) as string[]).toSorted(), ['app', 'data', 'more'])
  t.equal(
    await page.evaluate('getComputedStyle(document.querySelector("h1")).color'),
    'rgb(1, 2, 3)',
  )
  t.same(errors, [])
  t.same(violations, [])
}

async function checkInjections(t: Test, browser: Browser, site: Site): Promise<void> {
  const { url, app, violations, handled } = site
  const { page } = await open(browser)
  const reported = new Promise<void>((resolve) => {
    const seen = new Set<string>()
    app.securityEvents.on('security_headers.violation_reported', ({ details }) => {
      seen.add(details.directive)
      if (['script-src-elem', 'script-src-attr', 'base-uri'].every((name) => seen.has(name))) {
        resolve()
      }
    })
  })
  await page.goto(`${url}/injected`)
  await page.evaluate('document.getElementById("link").click()')
  await reported
  t.same(await marksOf(page), [])
  t.not(await page.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(255, 0, 0)')
  const { details } = violations.find((event) => event.details.directive === 'script-src-attr')!
  t.match(details, { kind: 'csp', disposition: 'enforce', page: '/injected' })
  t.notOk(handled.includes('GET /uploads/evil.js'), 'the script was not requested')
}

async function checkForeignPage(t: Test, browser: Browser, site: Site): Promise<void> {
  const { url, handled } = site
  const foreign = await serveForeign(t, url)
  const { page } = await open(browser)
  handled.length = 0
  await page.goto(foreign)
  t.same(handled, [], 'no handler ran for an image, a script or a frame')
  t.equal(await page.evaluate('window.marks'), undefined)
  const results = await page.evaluate(`Promise.all([
    fetch('${url}/data').then(() => 'read', () => 'refused'),
    fetch('${url}/data', { method: 'POST', mode: 'no-cors', body: 'a' }).then((r) => r.type, () => 'refused'),
    fetch('${url}/data', { method: 'PUT' }).then(() => 'read', () => 'refused'),
  ])`)
  t.same(
    (results as string[]).filter((result) => result === 'read'),
    [],
  )
  t.same(
    handled.filter((route) => route.includes('/data')),
    [],
  )
  const [posted] = await Promise.all([
    page.waitForResponse((reply) => reply.request().method() === 'POST'),
    page.waitForURL(`${url}/data`),
    page.evaluate('document.getElementById("form").submit()'),
  ])
  t.equal(posted.status(), 403)
  t.match(await page.content(), 'PARAPET_SECURITY_HEADERS_CROSS_SITE')
  t.same(
    handled.filter((route) => route.startsWith('POST')),
    [],
  )
  await page.goto(foreign)
  await Promise.all([
    page.waitForURL(`${url}/`),
    page.evaluate('document.getElementById("link").click()'),
  ])
  t.equal(await page.title(), 'good')
}
