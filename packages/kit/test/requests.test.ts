import {
  compileRouteRule,
  createNamedRoutes,
  keepAddress,
  listRoutes,
  missedRoute,
  acceptEmptyBody,
  readCookie,
  readFastifyInternal,
  requestSource,
  trustsEveryProxy,
  usePrincipal,
  type DeclaredRoute,
} from '@parapet/kit'
import Fastify, { type FastifyServerOptions } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'

declare module 'fastify' {
  interface FastifyContextConfig {
    door?: unknown
  }
}

const plugin = '@parapet/door'

await t.test('a rule is compiled once per route and found by the request', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const declared: DeclaredRoute[] = []
  const rules = compileRouteRule<{ open: unknown }>(app, {
    plugin,
    key: 'door',
    compile(route) {
      declared.push(route)
      return route.raw === undefined ? undefined : { open: route.raw }
    },
  })
  const shared = { door: 'ajar' }
  app.get('/a', { config: shared }, async (request) => rules.of(request.routeOptions) ?? 'none')
  app.route({
    method: ['POST', 'PUT'],
    url: '/b',
    handler: async ({ routeOptions }) => rules.of(routeOptions) ?? 'none',
  })
  t.same((await app.inject('/a')).json(), { open: 'ajar' })
  t.equal((await app.inject({ method: 'PUT', url: '/b' })).body, 'none')
  t.strictSame(
    declared.map(({ name, raw }) => [name, raw]),
    [
      ['GET /a', 'ajar'],
      ['HEAD /a', 'ajar'],
      ['POST,PUT /b', undefined],
    ],
  )
  t.strictSame(Reflect.ownKeys(shared), ['door'], "the application's own object is unchanged")
})

await t.test('a compiled rule may be null, and undefined keeps none', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const rules = compileRouteRule<null>(app, { plugin, key: 'door', compile: () => null })
  app.get('/open', { config: { door: 'open' } }, async (request) => ({
    rule: rules.of(request.routeOptions),
  }))
  t.strictSame((await app.inject('/open')).json(), { rule: null })
})

await t.test('a rule of a route that is older than the plugin is reported as missed', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const seen: unknown[] = []
  app.get('/ruled', { config: { door: 'shut' } }, async () => 'x')
  app.get('/plain', async () => 'x')
  const rules = compileRouteRule<string>(app, { plugin, key: 'door', compile: () => 'compiled' })
  app.addHook('onRequest', async (request) => void seen.push(rules.of(request.routeOptions)))
  app.get('/late', { config: { door: 'shut' } }, async () => 'x')
  for (const url of ['/ruled', '/plain', '/late', '/nowhere']) await app.inject(url)
  t.strictSame(seen, [missedRoute, undefined, 'compiled', undefined])
})

await t.test(
  'what compile throws stops the boot, and contexts see their own schemas',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    compileRouteRule(app, {
      plugin,
      key: 'door',
      compile({ raw, name, context }) {
        if (raw === 'broken')
          throw new Error(`${name}: ${String(context.getSchema('own') !== undefined)}`)
        return undefined
      },
    })
    await app.register(async (child) => {
      child.addSchema({ $id: 'own', type: 'string' })
      t.throws(() => child.get('/x', { config: { door: 'broken' } }, async () => 'x'), {
        message: 'GET /x: true',
      })
    })
  },
)

await t.test('a cookie is found by its exact name', (t) => {
  t.equal(readCookie('a=1; __Host-session=token; b=2', '__Host-session'), 'token')
  t.equal(readCookie(' \t__Host-session = to ken \t;x', '__Host-session'), 'to ken')
  t.equal(readCookie('a==b=', 'a'), '=b=', 'only the first "=" separates')
  t.equal(readCookie('a="q"', 'a'), '"q"', 'quotes belong to the value')
  t.equal(readCookie('a=%20', 'a'), '%20', 'nothing is decoded')
  for (const header of [undefined, '', ';;', 'a', '__host-session=x', 'x__Host-session=x', '=x']) {
    t.equal(readCookie(header, '__Host-session'), undefined)
  }
  t.end()
})

await t.test('a byte that only JavaScript calls white space makes another name', (t) => {
  // Node decodes header bytes as latin1.
  for (const byte of ['\xa0', '\x0b', '\x0c', '\x85', '\ufeff', '\u2003', '\u0000']) {
    t.equal(readCookie(`${byte}__Host-session=planted`, '__Host-session'), undefined)
    t.equal(readCookie(`__Host-session${byte}=planted`, '__Host-session'), undefined)
    t.equal(readCookie(`__Host-session=v${byte}`, '__Host-session'), `v${byte}`)
  }
  t.end()
})

await t.test('a cookie that was sent twice counts as empty', (t) => {
  t.equal(readCookie('s=1; s=2', 's'), '')
  t.equal(readCookie('s=1; s=1; s=1', 's'), '')
  t.equal(readCookie('s=; x=1', 's'), '')
  t.end()
})

await t.test('the source of a request names what is known and leaves out the rest', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  usePrincipal(app)
  const sources: object[] = []
  app.addHook('onRequest', async (request) => {
    sources.push(requestSource(request))
    if (request.headers.authorization === undefined) return
    request.principal = { id: 'u1', roles: [], sessionId: 's1' }
    sources.push(requestSource(request), requestSource(request, { id: 'u2', roles: [] }))
    sources.push(requestSource(request, null))
  })
  app.get('/users/:id', async () => 'x')
  await app.inject({
    url: '/users/7?token=secret',
    headers: { authorization: 'x', 'user-agent': 'a'.repeat(600) },
  })
  const known = {
    ip: '127.0.0.1',
    requestId: 'req-1',
    route: 'GET /users/:id',
    userAgent: 'a'.repeat(512),
  }
  t.strictSame(sources, [
    known,
    { ...known, principalId: 'u1', sessionId: 's1' },
    { ...known, principalId: 'u2' },
    known,
  ])
  await app.inject({ url: '/nowhere', headers: { 'user-agent': '' } })
  t.strictSame(sources.at(-1), { ip: '127.0.0.1', requestId: 'req-2', userAgent: '' })
})

await t.test('a client that hangs up early leaves its address, if a plugin keeps it', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onRequest', async (request) => keepAddress(request))
  const clients: Socket[] = []
  app.get('/late', async (request) => {
    const closed = once(request.raw.socket, 'close')
    clients[0]!.destroy()
    await closed
    return requestSource(request)
  })
  const answered = new Promise<string>((resolve) => {
    app.addHook('onSend', async (_request, _reply, payload) => resolve(String(payload)))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  clients.push(connect(port, '127.0.0.1'))
  clients[0]!.write('GET /late HTTP/1.1\r\nHost: x\r\n\r\n')
  t.match(JSON.parse(await answered), { ip: '127.0.0.1', route: 'GET /late' })
})

await t.test('a route of several methods is named by the method of the request', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.all('/any/:id', async (request) => requestSource(request))
  const { route } = (await app.inject({ method: 'DELETE', url: '/any/1' })).json<{
    route: string
  }>()
  t.equal(route, 'DELETE /any/:id')
})

await t.test('a request without any plugin that adds principals has a source, too', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.get('/x', async (request) => requestSource(request))
  t.match((await app.inject('/x')).json(), { route: 'GET /x', ip: '127.0.0.1' })
})

await t.test('private facts of Fastify are read from any context', async (t) => {
  const app = Fastify({ trustProxy: '10.0.0.0/8' })
  t.after(() => app.close())
  await app.register(async (child) => {
    const options = readFastifyInternal(child, 'fastify.options')
    t.match(options, { trustProxy: '10.0.0.0/8' })
  })
  t.equal(readFastifyInternal(app, 'fastify.no-such-symbol'), undefined)
  await app.ready()
})

await t.test('names of routes cover methods, slashes and paths below', (t) => {
  const names = [
    'GET /a',
    '* /docs/**',
    'GET /docs/**',
    'PUT /docs/deep',
    'GET /b/',
    'OPTIONS *',
    'GET /',
  ]
  const { find, unused } = createNamedRoutes(names)
  const found = (method: string, url: string) => find([method], url)
  t.equal(found('GET', '/a'), 'GET /a')
  t.equal(found('HEAD', '/a'), 'GET /a')
  t.equal(found('GET', '/a/'), 'GET /a', 'a slash at the end')
  t.equal(found('GET', '/b'), 'GET /b/', 'none at the end')
  t.equal(found('POST', '/a'), undefined)
  t.equal(found('GET', '/docs'), 'GET /docs/**', 'the longest name')
  t.equal(found('POST', '/docs/x/y'), '* /docs/**')
  t.equal(found('PUT', '/docs/deep'), 'PUT /docs/deep', 'an exact name first')
  t.equal(found('GET', '/docsx'), undefined)
  t.equal(found('OPTIONS', '*'), 'OPTIONS *')
  t.equal(find(['GET', 'PUT'], '/docs/deep'), undefined, 'no common name')
  t.same(unused(), ['GET /'])
  const both = createNamedRoutes(['GET /a', 'GET /a/'])
  t.same([both.find(['GET'], '/a'), both.find(['GET'], '/a/')], ['GET /a', 'GET /a/'])
  t.end()
})

await t.test('the routes of the router are listed with what Fastify keeps for them', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  t.same(listRoutes(app), [], 'an app without routes')
  app.get('/a', { schema: { params: { type: 'object' } }, config: { door: 1 } }, async () => 'a')
  await app.register(async (child) => {
    child.get('/b/:id', async () => 'b')
  })
  await app.ready()
  const routes = listRoutes(app) ?? []
  const names = routes.map(({ method, url }) => `${method} ${url}`)
  t.same(names.toSorted(), ['GET /a', 'GET /b/:id', 'HEAD /a', 'HEAD /b/:id'])
  const [first] = routes.filter(({ method, url }) => method === 'GET' && url === '/a')
  t.match(first, { config: { door: 1 }, schema: { params: { type: 'object' } } })
  t.match(first?.context, { handler: Function })
})

await t.test('a server that believes every client is recognised', (t) => {
  const v4 = ['0.0.0.0/1', '128.0.0.0/1']
  const everybody: unknown[] = [
    true,
    () => true,
    (address: string) => address.includes('.'),
    v4,
    v4.join(', '),
    [...v4, 'loopback'],
    ['0.0.0.0/128.0.0.0', '128.0.0.0/128.0.0.0'],
    ['1.2.3.4/1', '129.2.3.4/1'],
    ['0.0.0.0/1', '128.0.0.0/2', '192.0.0.0/3'],
    '::ffff:0:0/96',
    ['::ffff:0.0.0.0/97', '::ffff:128.0.0.0/97'],
    '2000::/3',
    '2001:db8::1/3',
    ['::/1', '8000::/1'],
  ]
  const some: unknown[] = [
    false,
    undefined,
    1,
    (address: string) => address === '10.0.0.1',
    () => {
      throw new Error('no table')
    },
    'loopback, uniquelocal',
    v4.slice(1),
    ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
    '10.0.0.1',
    '10.0.0.0/255.0.0.0',
    '2000::/4',
    [],
  ]
  // Fastify itself reads each of them.
  for (const trustProxy of [...everybody, ...some]) {
    t.doesNotThrow(() => Fastify({ trustProxy } as FastifyServerOptions))
  }
  for (const each of everybody) t.equal(trustsEveryProxy(each), true, String(each))
  for (const each of some) t.equal(trustsEveryProxy(each), false, String(each))
  t.end()
})

async function typeOf(headers: Record<string, string>): Promise<string | undefined> {
  const request = { headers: { 'content-type': 'application/json', ...headers } }
  await acceptEmptyBody(request as never)
  return (request.headers as Record<string, string>)['content-type']
}

await t.test('a request that announces JSON and has no body has no content type', async (t) => {
  t.equal(await typeOf({}), undefined)
  t.equal(await typeOf({ 'content-length': '0' }), undefined)
  t.equal(await typeOf({ 'content-length': '2' }), 'application/json')
  t.equal(await typeOf({ 'transfer-encoding': 'chunked' }), 'application/json')
})
