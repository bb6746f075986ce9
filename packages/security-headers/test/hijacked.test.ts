import fastifyCookie from '@fastify/cookie'
import type { Principal } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, { type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { checkBlock } from './helpers.ts'

const NO_STORE = 'no-store, max-age=0'
const PUBLIC = 'public, max-age=5'
const csrf = { secret: 'a secret of at least 32 characters' }
const ann: Principal = { id: 'ann', roles: [] }
const principal: SecurityHeadersOptions['principal'] = ({ headers }) =>
  headers['x-test-login'] === '1' ? ann : null

async function build(t: Test, options: SecurityHeadersOptions) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fastifyCookie)
  await app.register(securityHeaders, options)
  return app
}

/** Ways in which a handler can write the head of a hijacked reply. */
const ways: Record<string, (raw: FastifyReply['raw'], headers: Record<string, string>) => void> = {
  object: (raw, headers) => void raw.writeHead(200, headers),
  reason: (raw, headers) => void raw.writeHead(200, 'Fine', headers),
  list: (raw, headers) => void raw.writeHead(200, Object.entries(headers).flat()),
  setHeader: (raw, headers) => {
    for (const [name, value] of Object.entries(headers)) raw.setHeader(name, value)
  },
  flush: (raw, headers) => {
    ways['setHeader']!(raw, headers)
    raw.flushHeaders()
  },
}

await t.test('a hijacked reply is stored under the same rules as any other', async (t) => {
  const app = await build(t, { preset: 'web', principal })
  for (const [way, write] of Object.entries(ways)) {
    app.get(`/${way}`, (_request, reply) => {
      reply.hijack()
      write(reply.raw, {
        'cache-control': PUBLIC,
        'cdn-cache-control': PUBLIC,
        'x-powered-by': 'x',
      })
      reply.raw.end('x')
    })
    app.get(`/nonce/${way}`, (_request, reply) => {
      const { script } = reply.cspNonce
      reply.hijack()
      write(reply.raw, { 'cache-control': PUBLIC, etag: '"1"' })
      reply.raw.end(script)
    })
  }
  for (const way of Object.keys(ways)) {
    const mine = await app.inject({ url: `/${way}`, headers: { 'x-test-login': '1' } })
    t.equal(mine.headers['cache-control'], NO_STORE, way)
    t.notOk('cdn-cache-control' in mine.headers, way)
    t.notOk('x-powered-by' in mine.headers, way)
    checkBlock(t, app, mine.headers, way)
    const everyones = await app.inject(`/${way}`)
    t.equal(everyones.headers['cache-control'], PUBLIC, `${way}: anonymous`)
    const page = await app.inject(`/nonce/${way}`)
    t.equal(page.headers['cache-control'], NO_STORE, `${way}: with a nonce`)
    t.match(page.headers['content-security-policy'], page.body)
    t.notOk('etag' in page.headers, way)
  }
})

await t.test('the token of a hijacked reply comes with its cookie', async (t) => {
  const app = await build(t, { csrf, cookies: { mode: 'strict' } })
  app.get('/before', (_request, reply) => {
    const token = reply.csrfToken
    reply.hijack()
    reply.raw.writeHead(200, { 'cache-control': PUBLIC })
    reply.raw.end(token)
  })
  app.get('/after', (_request, reply) => {
    reply.hijack()
    reply.raw.setHeader('set-cookie', 'theme=dark; Secure; HttpOnly; SameSite=Lax')
    reply.raw.setHeader('cache-control', PUBLIC)
    reply.raw.end(reply.csrfToken)
  })
  app.get('/late', (_request, reply) => {
    reply.hijack()
    reply.raw.flushHeaders()
    try {
      reply.raw.end(reply.csrfToken)
    } catch (error) {
      reply.raw.end((error as { code: string }).code)
    }
  })
  app.post('/', async () => 'ok')
  for (const url of ['/before', '/after']) {
    const { headers, body } = await app.inject(url)
    t.equal(headers['cache-control'], NO_STORE, url)
    const cookie = [headers['set-cookie']].flat().at(-1)!.split(';')[0]!
    t.match(cookie, /^__Host-csrf=/)
    const sent = await app.inject({
      method: 'POST',
      url: '/',
      headers: { cookie, 'csrf-token': body },
    })
    t.equal(sent.statusCode, 200, url)
  }
  t.equal((await app.inject('/late')).body, 'PARAPET_SECURITY_HEADERS_NO_TOKEN')
})

await t.test('weak cookies of hijacked replies are reported, and left out if strict', async (t) => {
  const strong = 'b=1; Secure; HttpOnly; SameSite=Lax'
  for (const mode of ['report', 'strict'] as const) {
    const app = await build(t, { cookies: { mode } })
    const flagged: string[] = []
    app.securityEvents.on(
      'security_headers.cookie_flagged',
      ({ details }) => void flagged.push(details.cookie),
    )
    app.get('/', (_request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200, { 'set-cookie': ['a=1', strong] })
      reply.raw.end('x')
    })
    const { statusCode, headers } = await app.inject('/')
    t.equal(statusCode, 200, mode)
    t.same(headers['set-cookie'], mode === 'strict' ? [strong] : ['a=1', strong], mode)
    t.same(flagged, ['a'], mode)
  }
})

await t.test('the head is written by the method that the response had', async (t) => {
  const app = await build(t, {})
  const calls: unknown[][] = []
  app.get('/', (_request, reply) => {
    const { raw } = reply
    const own = raw.writeHead.bind(raw) as (...args: unknown[]) => typeof raw
    const wrapped = (...args: unknown[]) => {
      calls.push(args)
      return own(...args)
    }
    raw.writeHead = wrapped
    reply.hijack()
    raw.writeHead(201, 'Made', { 'x-a': '1' })
    t.equal(Reflect.get(raw, 'writeHead'), wrapped, 'it is put back')
    raw.end('x')
  })
  app.get('/bad', (_request, reply) => {
    reply.hijack()
    try {
      reply.raw.writeHead(200, ['x-a'])
    } catch (error) {
      reply.raw.end((error as { code: string }).code)
    }
  })
  const { statusCode, statusMessage, headers } = await app.inject('/')
  t.match([statusCode, statusMessage, headers['x-a']], [201, 'Made', '1'])
  t.same(calls, [[201, 'Made']])
  t.equal((await app.inject('/bad')).body, 'ERR_INVALID_ARG_VALUE', 'the errors of Node remain')
})
