import fastifyCookie from '@fastify/cookie'
import type { Principal } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, {
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyServerOptions,
} from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'

const NO_STORE = 'no-store, max-age=0'
const PUBLIC = 'public, max-age=3600'
const csrf = { secret: 'a secret of at least 32 characters' }
const ann: Principal = { id: 'ann', roles: [] }
/** The header of a test logs in. */
const principal: SecurityHeadersOptions['principal'] = ({ headers }) =>
  headers['x-test-login'] === '1' ? ann : null

async function build(
  t: Test,
  options: SecurityHeadersOptions = {},
  { before, ...server }: FastifyServerOptions & { before?: FastifyPluginAsync } = {},
) {
  const app = Fastify(server)
  t.after(() => app.close())
  await app.register(fastifyCookie)
  if (before !== undefined) await app.register(fp(before))
  await app.register(securityHeaders, options)
  return app
}

/** Like @fastify/session, which sets the cookie of a new session in a hook of its own. */
const sessions: FastifyPluginAsync = async (app) => {
  app.addHook('onSend', async (_request, reply) => {
    reply.header('set-cookie', 'sessionId=1; Path=/; Secure; HttpOnly; SameSite=Lax')
  })
}

await t.test('a response that makes its visitor somebody is not stored for others', async (t) => {
  const app = await build(t, { csrf })
  const ways: Record<string, (reply: FastifyReply) => unknown> = {
    cookie: (reply) => reply.setCookie('theme', 'dark', { secure: true }),
    header: (reply) => reply.header('Set-Cookie', 'theme=dark; Secure'),
    raw: (reply) => reply.raw.setHeader('set-cookie', 'theme=dark; Secure'),
    token: (reply) => reply.csrfToken,
    logout: (reply) => reply.clearSiteData(),
  }
  for (const [way, make] of Object.entries(ways)) {
    app.get(`/${way}/before`, async (_request, reply) => {
      reply.header('cache-control', PUBLIC)
      make(reply)
      return 'x'
    })
    app.get(`/${way}/after`, async (_request, reply) => {
      make(reply)
      return reply.header('cache-control', PUBLIC).send('x')
    })
  }
  for (const url of Object.keys(ways).flatMap((way) => [`/${way}/before`, `/${way}/after`])) {
    const { headers } = await app.inject(url)
    t.equal(headers['cache-control'], NO_STORE, url)
  }
})

await t.test('a cookie that a later hook sets counts as well', async (t) => {
  for (const preset of ['api', 'web', 'docs', 'legacy'] as const) {
    const app = await build(t, { preset }, { before: sessions })
    app.get('/', async (_request, reply) => reply.header('cache-control', PUBLIC).send('x'))
    app.get('/silent', async () => 'x')
    t.equal((await app.inject('/')).headers['cache-control'], NO_STORE, preset)
    t.equal((await app.inject('/silent')).headers['cache-control'], NO_STORE, preset)
  }
})

await t.test('a page with the token of a known visitor is not stored for others', async (t) => {
  const app = await build(t, { csrf })
  app.get('/', async (_request, reply) => {
    reply.header('cache-control', PUBLIC)
    return reply.csrfToken
  })
  app.get('/late', async (_request, reply) => reply.header('cache-control', PUBLIC).send('page'))
  app.addHook('onSend', async (request, reply, payload) =>
    request.url === '/late' ? `${String(payload)} ${reply.csrfToken}` : payload,
  )
  const cookie = String((await app.inject('/')).headers['set-cookie']).split(';')[0]!
  for (const url of ['/', '/late']) {
    const { headers, body } = await app.inject({ url, headers: { cookie } })
    t.notOk('set-cookie' in headers, 'the browser has the cookie already')
    t.ok(body.length > 10)
    t.equal(headers['cache-control'], NO_STORE, url)
  }
})

await t.test(
  'under cacheControl handler, the handler decides on all but nonce and token',
  async (t) => {
    const waivers = [
      { rule: 'CACHE-HANDLER', reason: 'the shop caches by itself', until: '2027-06-01' },
    ]
    const clock = { now: () => Date.parse('2027-01-01T00:00:00Z'), schedule: () => () => {} }
    const app = await build(t, { csrf, cacheControl: 'handler', waivers, clock })
    app.get('/cookie', async (_request, reply) => {
      reply.setCookie('theme', 'dark')
      return reply.header('cache-control', PUBLIC).send('x')
    })
    app.get('/token', async (_request, reply) =>
      reply.header('cache-control', PUBLIC).send(reply.csrfToken),
    )
    t.equal((await app.inject('/cookie')).headers['cache-control'], PUBLIC)
    t.equal((await app.inject('/token')).headers['cache-control'], NO_STORE)
  },
)

await t.test('a personal response has no header for the caches of a CDN', async (t) => {
  const app = await build(t, { principal })
  const names = [
    'cdn-cache-control',
    'Cloudflare-CDN-Cache-Control',
    'vercel-cdn-cache-control',
    'surrogate-control',
    'x-accel-expires',
    'edge-control',
  ]
  for (const name of names) {
    app.get(`/${name}`, async (_request, reply) =>
      reply.header(name, 'public, max-age=9').send('x'),
    )
    app.get(`/raw/${name}`, async (_request, reply) => {
      reply.raw.setHeader(name, 'public, max-age=9')
      return 'x'
    })
  }
  app.get('/off', async (_request, reply) => reply.header('cdn-cache-control', 'no-store').send(''))
  for (const name of names) {
    for (const url of [`/${name}`, `/raw/${name}`]) {
      const mine = await app.inject({ url, headers: { 'x-test-login': '1' } })
      t.notOk(name.toLowerCase() in mine.headers, url)
      t.equal(mine.headers['cache-control'], NO_STORE)
      const everyones = await app.inject(url)
      t.equal(everyones.headers[name.toLowerCase()], 'public, max-age=9', 'for everyone else')
    }
  }
  const off = await app.inject({ url: '/off', headers: { 'x-test-login': '1' } })
  t.equal(off.headers['cdn-cache-control'], 'no-store', 'a value that stores nothing stays')
})

/** Like the guides of CDNs, which set the header everywhere. */
const shareAll: FastifyPluginAsync = async (app) => {
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cdn-cache-control', 'public, max-age=9')
  })
}

await t.test(
  'a hook that sets a CDN header everywhere does not share personal pages',
  async (t) => {
    const app = await build(t, { principal }, { before: shareAll })
    app.get('/', async () => 'x')
    const { headers } = await app.inject({ url: '/', headers: { 'x-test-login': '1' } })
    t.notOk('cdn-cache-control' in headers)
  },
)

await t.test('a contradictory value does not make a personal response private', async (t) => {
  const app = await build(t, { principal })
  const values: [value: string, sent: string][] = [
    ['private, public, s-maxage=100', NO_STORE],
    ['private, s-maxage=100', NO_STORE],
    ['no-store, public', NO_STORE],
    ['no-store, must-understand', NO_STORE],
    ['x="a, private, b"', NO_STORE],
    ['x="a, private', NO_STORE],
    ['private="set-cookie"', NO_STORE],
    ['Private, max-age=60', 'Private, max-age=60'],
    ['max-age=60 ,private', 'max-age=60 ,private'],
    ['no-store', 'no-store'],
  ]
  for (const [index, [value]] of values.entries()) {
    app.get(`/${index}`, async (_request, reply) => reply.header('cache-control', value).send('x'))
  }
  for (const [index, [value, sent]] of values.entries()) {
    const { headers } = await app.inject({ url: `/${index}`, headers: { 'x-test-login': '1' } })
    t.equal(headers['cache-control'], sent, value)
  }
})

/** Like passport. */
const passport: FastifyPluginAsync = async (app) => {
  app.decorateRequest('user')
  app.addHook('onRequest', async (request) => {
    if (request.headers['x-test-user'] === '1') Object.assign(request, { user: { id: 1 } })
  })
}

await t.test('without a known login, credentials make a response personal', async (t) => {
  const asked: [name: string, headers: Record<string, string>, isPersonal: boolean][] = [
    ['a session', { cookie: 'a=1; connect.sid=x' }, true],
    ['Authorization', { authorization: 'Bearer x' }, true],
    ['a user of passport', { 'x-test-user': '1' }, true],
    ['another cookie', { cookie: '_ga=1; theme=dark; csrf-token=1' }, false],
    ['nothing', {}, false],
  ]
  const app = await build(t, { cacheControl: 'authenticated' }, { before: passport })
  const known = await build(t, { cacheControl: 'authenticated', principal }, { before: passport })
  for (const each of [app, known]) {
    each.get('/', async (_request, reply) => reply.header('cache-control', PUBLIC).send('x'))
    each.get('/silent', async () => 'x')
  }
  for (const [name, headers, isPersonal] of asked) {
    const read = async (url: string) =>
      (await app.inject({ url, headers })).headers['cache-control']
    t.equal(await read('/'), isPersonal ? NO_STORE : PUBLIC, name)
    t.equal(await read('/silent'), isPersonal ? NO_STORE : undefined, name)
    const { headers: own } = await known.inject({ url: '/', headers })
    t.equal(own['cache-control'], PUBLIC, `${name}: the option "principal" decides alone`)
  }
})

const addSession: FastifyPluginAsync = async (app) => void app.decorateRequest('session')

await t.test('a login that the plugin cannot see is named at boot', async (t) => {
  const lines: string[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => void lines.push(line) } }
  const app = await build(t, { cacheControl: 'authenticated' }, { before: addSession, logger })
  await app.ready()
  t.match(lines.join(''), /Set the option \\"principal\\"/)
  lines.length = 0
  await (
    await build(t, { cacheControl: 'authenticated', principal }, { before: addSession, logger })
  ).ready()
  await (await build(t, { cacheControl: 'authenticated' }, { logger })).ready()
  await (await build(t, {}, { before: addSession, logger })).ready()
  t.same(lines, [])
})
