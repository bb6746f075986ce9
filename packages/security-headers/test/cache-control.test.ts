import type { Principal } from '@parapet/kit'
import t from 'tap'
import { build, nextMonth } from './helpers.ts'

function sendCacheControl(value: string) {
  return async (_request: unknown, reply: { header(name: string, value: string): unknown }) => {
    reply.header('cache-control', value)
    return 'x'
  }
}

await t.test('a response for an authenticated request is not stored for other users', async (t) => {
  const person: Principal = { id: 'u-1', roles: [] }
  const app = await build(t, {
    preset: 'docs',
    principal: (request) => (request.headers['x-test-login'] === '1' ? person : null),
    waivers: [
      {
        rule: 'CACHE-HANDLER',
        reason: 'the picture is the same for every user',
        until: nextMonth(),
      },
    ],
  })
  app.get('/silent', async () => 'x')
  app.get('/public', sendCacheControl('public, max-age=60'))
  app.get('/private', sendCacheControl('private, max-age=60'))
  app.get('/one-field', sendCacheControl('private="set-cookie", max-age=60'))
  app.get(
    '/late',
    { onSend: async (_request, reply) => void reply.header('cache-control', 'public') },
    async () => 'x',
  )
  app.get(
    '/picture',
    { config: { securityHeaders: { cacheControl: 'handler' } } },
    sendCacheControl('public'),
  )
  const ask = async (url: string, login: string) =>
    (await app.inject({ url, headers: { 'x-test-login': login } })).headers['cache-control']
  t.equal(await ask('/silent', '1'), 'no-store, max-age=0')
  t.equal(await ask('/public', '1'), 'no-store, max-age=0')
  t.equal(await ask('/private', '1'), 'private, max-age=60')
  t.equal(await ask('/one-field', '1'), 'no-store, max-age=0')
  t.equal(await ask('/late', '1'), 'no-store, max-age=0')
  t.equal(await ask('/picture', '1'), 'public')
  t.equal(await ask('/silent', '0'), undefined)
  t.equal(await ask('/public', '0'), 'public, max-age=60')
})

await t.test('a page with a nonce is never stored, whatever its handler sets', async (t) => {
  const app = await build(t, { preset: 'web' })
  const values = ['public, max-age=60', 'private', 'no-cache']
  for (const [index, value] of values.entries()) {
    app.get(`/before/${index}`, async (_request, reply) => {
      reply.header('cache-control', value)
      return reply.cspNonce.script
    })
    app.get(`/after/${index}`, async (_request, reply) => {
      const { script } = reply.cspNonce
      reply.header('cache-control', value)
      return script
    })
    app.get(`/without/${index}`, sendCacheControl(value))
  }
  for (const [index, value] of values.entries()) {
    for (const [where, expected] of [
      ['before', 'no-store, max-age=0'],
      ['after', 'no-store, max-age=0'],
      ['without', value],
    ] as const) {
      const { headers } = await app.inject(`/${where}/${index}`)
      t.equal(headers['cache-control'], expected, `${where} ${value}`)
    }
  }
})

await t.test('if the principal mapping fails, the response is sent but not stored', async (t) => {
  const app = await build(t, {
    preset: 'docs',
    principal: () => {
      throw new Error('the login is unavailable')
    },
  })
  app.get('/', sendCacheControl('public'))
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['cache-control'], 'no-store, max-age=0')
})

await t.test('an asynchronous principal mapping decides like any other', async (t) => {
  const person: Principal = { id: 'u-1', roles: [] }
  const app = await build(t, {
    preset: 'docs',
    principal: async ({ headers }) => {
      if (headers['x-test-login'] === 'broken') throw new Error('the login is unavailable')
      return headers['x-test-login'] === '1' ? person : null
    },
  })
  app.get('/', sendCacheControl('public'))
  for (const [login, expected] of [
    ['1', 'no-store, max-age=0'],
    ['0', 'public'],
    ['broken', 'no-store, max-age=0'],
  ] as const) {
    const { statusCode, headers } = await app.inject({
      url: '/',
      headers: { 'x-test-login': login },
    })
    t.match([statusCode, headers['cache-control']], [200, expected], login)
  }
})
