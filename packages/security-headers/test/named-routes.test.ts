/** The option `routes`, and rules that other hooks add to routes. */
import { securityHeaders } from '@parapet/security-headers'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { build, checkBlock } from './helpers.ts'

const INVALID_OPTION = 'PARAPET_SECURITY_HEADERS_INVALID_OPTION'
const INVALID_RULE = 'PARAPET_SECURITY_HEADERS_INVALID_RULE'
const DOCS = /style-src 'self' 'unsafe-inline'/
const WEB = /trusted-types 'none'/

/** Like swagger-ui: routes in a context of its own, which the app cannot give a config. */
async function docsPlugin(app: FastifyInstance): Promise<void> {
  app.get('/docs/', async () => 'docs')
  app.get('/docs/static/*', async () => 'file')
  app.post('/docs/send', async () => 'sent')
}

async function cspOf(app: FastifyInstance, url: string, method: 'GET' | 'HEAD' | 'POST' = 'GET') {
  const { statusCode, headers } = await app.inject({ method, url })
  return statusCode === 200 ? String(headers['content-security-policy']) : statusCode
}

await t.test('the option routes gives rules to routes of other plugins', async (t) => {
  const app = await build(t, {
    routes: {
      'GET /docs/**': { preset: 'docs' },
      'GET /docs/static/**': { preset: 'web' },
      'POST /docs/send': { preset: 'legacy' },
      'GET /own': { preset: 'web' },
    },
  })
  await app.register(docsPlugin)
  app.get('/own', { config: { securityHeaders: { preset: 'docs' } } }, async () => 'own')
  t.match(await cspOf(app, '/docs/'), DOCS)
  t.match(await cspOf(app, '/docs/', 'HEAD'), DOCS)
  t.match(await cspOf(app, '/docs/static/a.js'), WEB, 'the longest name wins')
  t.match(await cspOf(app, '/docs/send', 'POST'), /'unsafe-inline'/)
  t.match(await cspOf(app, '/own'), DOCS, 'a rule of the route wins')
  t.equal(app.securityHeaders.explain('GET', '/docs/').preset, 'docs')
})

await t.test('the option routes covers routes that were declared before the plugin', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.get('/docs', async () => 'docs')
  app.get('/other', async () => 'other')
  await app.register(docsPlugin)
  const rule = {
    preset: 'docs',
    isolation: { scope: 'cross-site', reason: 'everyone may read it' },
  } as const
  await app.register(securityHeaders, { routes: { 'GET /docs': rule, '* /docs/**': rule } })
  for (const url of ['/docs', '/docs/', '/docs/static/a.js'])
    t.match(await cspOf(app, url), DOCS, url)
  t.equal(app.securityHeaders.explain('GET', '/docs').isolation, 'cross-site')
  const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }
  t.equal((await app.inject({ url: '/docs', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/other', headers })).statusCode, 403)
  checkBlock(t, app, (await app.inject('/other')).headers, 'a route without a rule')
})

await t.test('a rule that a later hook adds or changes is the one that counts', async (t) => {
  const app = await build(t)
  await app.register(async (child) => {
    child.addHook('onRoute', (route) => {
      route.config = { ...route.config, securityHeaders: { preset: 'docs' } } as never
    })
    await child.register(docsPlugin)
    child.get('/changed', { config: { securityHeaders: { preset: 'web' } } }, async () => 'x')
  })
  app.get('/plain', async () => 'plain')
  for (const url of ['/docs/', '/docs/static/a.js', '/changed'])
    t.match(await cspOf(app, url), DOCS, url)
  t.match(await cspOf(app, '/docs/', 'HEAD'), DOCS)
  t.equal(app.securityHeaders.explain('GET', '/docs/').preset, 'docs')
  t.notMatch(await cspOf(app, '/plain'), DOCS)
})

async function refusedBoot(t: Test, options: object, declare?: (app: FastifyInstance) => void) {
  const app = Fastify()
  t.after(() => app.close())
  try {
    await app.register(securityHeaders, options)
    declare?.(app)
    await app.ready()
  } catch (error) {
    return error
  }
  return null
}

await t.test('mistakes in the option routes and in late rules stop the boot', async (t) => {
  const unknown = await refusedBoot(t, { routes: { 'GET /nowhere': { preset: 'docs' } } })
  t.match(unknown, { code: INVALID_OPTION, message: /"GET \/nowhere", but no such route exists/ })
  const form = await refusedBoot(t, { routes: { '/docs': { preset: 'docs' } } })
  t.match(form, { code: INVALID_OPTION, message: /keys such as 'GET \/docs\/\*\*', got "\/docs"/ })
  const rule = await refusedBoot(t, { routes: { 'GET /docs/**': { presett: 'docs' } } })
  t.match(rule, { code: INVALID_RULE, message: /GET \/docs\/\*\*.*did you mean "preset"/s })
  const late = await refusedBoot(t, {}, (app) => {
    app.addHook('onRoute', (route) => {
      route.config = { ...route.config, securityHeaders: { preset: 'nonsense' } } as never
    })
    app.get('/late', async () => t.fail('the handler ran'))
  })
  t.match(late, { code: INVALID_RULE, message: /GET \/late/ })
  const weak = await refusedBoot(t, {
    routes: { 'GET /docs/**': { csp: { 'script-src': ["'unsafe-inline'"] } } },
  })
  t.match(weak, { code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY', message: /"routes" GET \/docs/ })
})
