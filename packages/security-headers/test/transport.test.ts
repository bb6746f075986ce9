/** HSTS and upgrades over http, and the headers that browsers only report on. */
import { securityHeaders } from '@parapet/security-headers'
import Fastify from 'fastify'
import t from 'tap'
import { build, checkBlock } from './helpers.ts'

const HSTS = 'strict-transport-security'

await t.test('HSTS is not sent over http where the app knows what the client used', async (t) => {
  const app = await build(t, {}, { trustProxy: true })
  app.get('/', async () => 'x')
  const ask = async (proto: string) =>
    (await app.inject({ url: '/', headers: { 'x-forwarded-proto': proto } })).headers
  const plain = await ask('http')
  t.notOk(HSTS in plain)
  checkBlock(t, app, plain, 'the rest', [HSTS])
  checkBlock(t, app, await ask('https'), 'over https')
  const unknown = await build(t)
  unknown.get('/', async () => 'x')
  t.ok(HSTS in (await unknown.inject('/')).headers, 'a proxy may end TLS without a word')
})

await t.test('a service that says it is reached over http asks for no https', async (t) => {
  const app = await build(t, { preset: 'web', plainHttp: 'a device in a closed network' })
  app.get('/', async () => 'x')
  app.get('/data', { config: { securityHeaders: { preset: 'api' } } }, async () => 'x')
  for (const url of ['/', '/data', '/nowhere']) {
    const { headers } = await app.inject(url)
    t.notOk(HSTS in headers, url)
    t.notMatch(headers['content-security-policy'], /upgrade-insecure-requests/, url)
  }
  const both = Fastify()
  t.after(() => both.close())
  const plainHttp = 'a device in a closed network'
  await t.rejects(
    async () => both.register(securityHeaders, { plainHttp, https: { hosts: ['a.example'] } }),
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_OPTION', message: /contradicts "https"/ },
  )
})

await t.test(
  'policies can be only reported on, and windows opened without an opener',
  async (t) => {
    const app = await build(t, {
      preset: 'web',
      reports: {},
      openerPolicy: 'noopener-allow-popups',
      embedderPolicyReportOnly: 'credentialless',
      openerPolicyReportOnly: 'same-origin',
      documentPolicy: {
        'document-write': false,
        'js-profiling': true,
        'lossy-images-max-bpp': 0.5,
      },
      documentPolicyReportOnly: { 'unsized-media': false },
    })
    app.get('/', async () => 'x')
    t.match((await app.inject('/')).headers, {
      'cross-origin-opener-policy': 'noopener-allow-popups',
      'cross-origin-opener-policy-report-only': 'same-origin; report-to="default"',
      'cross-origin-embedder-policy-report-only': 'credentialless; report-to="default"',
      'document-policy': 'document-write=?0, js-profiling, lossy-images-max-bpp=0.5',
      'document-policy-report-only': 'unsized-media=?0, *;report-to=default',
    })
  },
)

await t.test('pages may use passkeys, and data may not', async (t) => {
  const app = await build(t, { preset: 'web' })
  const web = app.securityHeaders.headers['permissions-policy']
  t.match(web, /publickey-credentials-get=\(self\), .*publickey-credentials-create=\(self\)/)
  for (const unknown of ['web-share', 'bluetooth']) t.notMatch(web, unknown)
  const api = (await build(t)).securityHeaders.headers['permissions-policy']
  t.match(api, /publickey-credentials-get=\(\)/)
  const shared = await build(t, { permissions: { 'web-share': ['self'] } })
  t.match(shared.securityHeaders.headers['permissions-policy'], /web-share=\(self\)/)
})
