/** The preset `spa` on the output of a real Vite build. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { securityHeaders } from '@parapet/security-headers'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { build } from './helpers.ts'
import { serveBuild, writeBuild } from './vite-site.ts'

const INVALID_OPTION = 'PARAPET_SECURITY_HEADERS_INVALID_OPTION'

function integrityOf(folder: string, file: string): string {
  return `sha384-${createHash('sha384')
    .update(readFileSync(join(folder, file)))
    .digest('base64')}`
}

await t.test('the page of a build gets a nonce and integrity hashes', async (t) => {
  const folder = writeBuild(t)
  const app = await serveBuild(t, folder)
  const nonces = new Set<string>()
  for (const url of ['/', '/deep/link?a=1']) {
    const { statusCode, headers, body } = await app.inject(url)
    const csp = String(headers['content-security-policy'])
    const nonce = /'nonce-([^']+)'/.exec(csp)?.[1] ?? ''
    nonces.add(nonce)
    t.equal(statusCode, 200)
    t.match(csp, /script-src 'nonce-[^']+' 'strict-dynamic' 'report-sample' 'sha256-[^']+';/)
    t.match(csp, /style-src 'self' 'nonce-[^']+' 'report-sample' 'sha256-[^']+';/)
    t.equal(headers['integrity-policy'], 'blocked-destinations=(script)')
    t.equal(headers['cache-control'], 'no-store, max-age=0')
    t.equal(Number(headers['content-length']), Buffer.byteLength(body))
    for (const name of ['etag', 'last-modified', 'accept-ranges']) t.notOk(name in headers, name)
    const entry = /assets\/index-[\w-]+\.js/.exec(body)![0]
    t.match(
      body,
      `<script integrity="${integrityOf(folder, entry)}" nonce="${nonce}" type="module"`,
    )
    t.match(
      body,
      new RegExp(
        `<link integrity="sha384-[^"]+" nonce="${nonce.replaceAll('+', '\\+')}" rel="modulepreload"`,
      ),
    )
    t.match(body, /<link integrity="sha384-[^"]+" rel="stylesheet"/)
    const map = /<script type="importmap" nonce="[^"]+">(.*?)<\/script>/.exec(body)![1]!
    const { integrity } = JSON.parse(map) as { integrity: Record<string, string> }
    t.same(integrity[`/${entry}`], integrityOf(folder, entry))
    t.equal(Object.keys(integrity).length, 4, 'every script of the build, also those loaded later')
    t.ok(body.indexOf('importmap') < body.indexOf('type="module"'))
  }
  t.equal(nonces.size, 2)
})

await t.test('files keep their lifetime and validators', async (t) => {
  const folder = writeBuild(t)
  const app = await serveBuild(t, folder)
  const entry = /assets\/index-[\w-]+\.js/.exec(
    readFileSync(join(folder, 'index.html'), 'utf8'),
  )![0]
  const { headers, body } = await app.inject(`/${entry}`)
  t.match(headers, { etag: '"1"', 'cache-control': 'public, max-age=3600' })
  t.equal(body, readFileSync(join(folder, entry), 'utf8'))
  const head = await app.inject({ method: 'HEAD', url: '/' })
  t.notOk('etag' in head.headers || 'content-length' in head.headers)
})

await t.test('a page that differs from the build gets no nonce', async (t) => {
  const folder = writeBuild(t)
  const app = Fastify()
  t.after(() => app.close())
  await app.register(securityHeaders, { preset: 'spa', build: { folder } })
  const page = readFileSync(join(folder, 'index.html'), 'utf8')
  const injected = page.replace('</body>', '<script src="/uploads/evil.js"></script></body>')
  app.get('/injected', async (_request, reply) => reply.type('text/html').send(injected))
  app.get('/long', async (_request, reply) =>
    reply.type('text/html').send(Readable.from([page, 'x'.repeat(100_000), page])),
  )
  app.get('/short', async (_request, reply) => reply.type('text/html').send(Readable.from(['x'])))
  app.get('/broken', async (_request, reply) => {
    const broken = new Readable({ read: () => broken.destroy(new Error('gone')) })
    return reply.type('text/html').send(broken)
  })
  app.get('/data', async () => page)
  for (const [url, body] of [
    ['/injected', injected],
    ['/long', `${page}${'x'.repeat(100_000)}${page}`],
    ['/short', 'x'],
    ['/data', page],
  ] as const) {
    const reply = await app.inject(url)
    t.equal(reply.body, body, url)
    t.notMatch(reply.headers['content-security-policy'], /nonce-/, url)
  }
  t.equal((await app.inject('/broken')).statusCode, 500)
})

await t.test('a page in another form than plain text is served as well', async (t) => {
  const folder = writeBuild(t)
  const file = join(folder, 'index.html')
  const page = readFileSync(file, 'utf8')
  writeFileSync(`${file}.gz`, gzipSync(page))
  const app = Fastify()
  t.after(() => app.close())
  await app.register(securityHeaders, { preset: 'spa', build: { folder } })
  app.get('/string', async (_request, reply) => reply.type('text/html').send(page))
  app.get('/buffer', async (_request, reply) => reply.type('text/html').send(Buffer.from(page)))
  app.get('/gzip', async (_request, reply) => {
    reply.type('text/html').header('content-encoding', 'gzip')
    return reply.send(readFileSync(`${file}.gz`))
  })
  for (const url of ['/string', '/buffer', '/gzip']) {
    const { headers, body } = await app.inject(url)
    const nonce = /'nonce-([^']+)'/.exec(String(headers['content-security-policy']))?.[1]
    t.ok(nonce !== undefined && body.includes(`nonce="${nonce}"`), url)
    t.notOk('content-encoding' in headers)
  }
})

async function refused(t: Test, options: object): Promise<unknown> {
  const app = Fastify()
  t.after(() => app.close())
  return app.register(securityHeaders, options).then(
    () => null,
    (error: unknown) => error,
  )
}

await t.test('a build that cannot work stops the boot', async (t) => {
  const outside = '<script src="https://cdn.example/x.js"></script>'
  const wrong: [object, RegExp][] = [
    [{ preset: 'spa' }, /"preset" "spa" needs "build"/],
    [{ preset: 'spa', build: { folder: '/nowhere' } }, /"build" cannot be used: .*ENOENT/],
    [
      { preset: 'spa', build: { folder: writeBuild(t), base: 'app' } },
      /"build.base" must be a path/,
    ],
    [
      { preset: 'spa', build: { folder: writeBuild(t), base: '/app/' } },
      /loads \/assets\/.* not in the folder/,
    ],
    [
      { preset: 'spa', build: { folder: writeBuild(t, { 'index.html': outside }) } },
      /cdn\.example.*add an integrity attribute/,
    ],
  ]
  for (const [options, message] of wrong) {
    t.match(await refused(t, options), { code: INVALID_OPTION, message })
  }
  const app = await build(t)
  t.throws(
    () => app.get('/', { config: { securityHeaders: { preset: 'spa' } } }, async () => 'x'),
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_RULE', message: /needs the option "build"/ },
  )
})

await t.test('hashFiles refuses a page whose script files no source allows', async (t) => {
  const folder = writeBuild(t)
  const error = await refused(t, { preset: 'web', hashFiles: [folder] })
  t.match(error, {
    code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY',
    message: /CSP-EXTERNAL-SCRIPT.*\/assets\/index-.*preset 'spa'/,
  })
  const withHash =
    '<script src="/a.js" integrity="sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="></script>'
  const page = writeBuild(t, { 'index.html': withHash })
  t.equal(await refused(t, { preset: 'web', hashFiles: [page] }), null)
})

await t.test('a page that has changed under a running server is reported', async (t) => {
  const folder = writeBuild(t)
  const app = await serveBuild(t, folder)
  const events: unknown[] = []
  app.securityEvents.on('security_headers.page_unknown', ({ details }) => void events.push(details))
  t.match((await app.inject('/')).body, /nonce="/)
  t.same(events, [])
  writeFileSync(join(folder, 'index.html'), `${readFileSync(join(folder, 'index.html'), 'utf8')} `)
  for (let index = 0; index < 3; index++) t.notMatch((await app.inject('/')).body, /nonce="/)
  t.same(events, [{ statusCode: 200 }], 'once for each route')
})
