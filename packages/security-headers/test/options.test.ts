import { declarePhase } from '@parapet/kit'
import { securityHeaders } from '@parapet/security-headers'
import Fastify from 'fastify'
import t from 'tap'
import { build } from './helpers.ts'

await t.test('invalid options and route rules stop the boot', async (t) => {
  const refused: [object, RegExp][] = [
    [{ presets: 'web' }, /did you mean "preset"/],
    [{ preset: 'strict' }, /must be one of "api", "web"/],
    [{ csp: { script_src: [] } }, /"csp.script_src" must be a directive/],
    [{ csp: { 'script-src': ['a; b'] } }, /"csp.script-src\[0\]" must be/],
    [{ permissions: { geo: [] } }, /"permissions.geo" must be a feature/],
    [{ permissions: { camera: ['https://a.example/path'] } }, /must be 'self', '\*' or an origin/],
    [{ permissions: { camera: ['https://a"),usb=(*'] } }, /must be 'self', '\*' or an origin/],
    [{ csp: { 'img-src': ['https://ex\u00e4mple.com'] } }, /"csp.img-src\[0\]" must be/],
    [{ csp: { 'report-uri': ['/a\u0000'] } }, /"csp.report-uri\[0\]" must be/],
    [{ scriptHashes: ["'sha256-\u007f'"] }, /"scriptHashes\[0\]" must be/],
    [{ cors: { allowedHeaders: ['x-a\r\nx-b: c'] } }, /"cors.allowedHeaders\[0\]" must be/],
    [{ cors: { exposedHeaders: ['\u00e9tag'] } }, /"cors.exposedHeaders\[0\]" must be/],
    [{ cookies: { readable: ['a b'] } }, /"cookies.readable\[0\]" must be/],
    [{ reports: { path: '//evil.example' } }, /"reports.path" must be/],
    [{ reports: { path: '/../x' } }, /"reports.path" must be/],
    [
      { securityTxt: { contact: ['mailto:a\u0085Expires: x'], expires: '' } },
      /"securityTxt.contact\[0\]" must/,
    ],
    [{ relax: { 'x-frame-options': 'no' } }, /must have 10 to 500 characters/],
    [
      { relax: { 'x-frame-option': 'a long enough reason' } },
      /"relax.x-frame-option" must be a header or directive/,
    ],
    [{ networkErrorLogging: { maxAgeSeconds: 5 } }, /"networkErrorLogging" needs "reports"/],
    [{ csrf: { secret: 'short' } }, /"csrf.secret" must have 32/],
    [{ csrf: { secret: 's'.repeat(32) } }, /register @fastify\/cookie first/],
    [{ https: { hosts: [] } }, /"https.hosts" must be an array of 1/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    const code = 'PARAPET_SECURITY_HEADERS_INVALID_OPTION'
    await t.rejects(
      async () => {
        await app.register(securityHeaders, options as never)
      },
      { code, message },
    )
  }
  const app = await build(t)
  for (const rule of [
    'web',
    { presett: 'web' },
    { csrfExempt: true },
    { hashFiles: ['/nowhere'] },
  ]) {
    t.throws(
      () => app.get('/broken', { config: { securityHeaders: rule as never } }, async () => 'x'),
      {
        code: 'PARAPET_SECURITY_HEADERS_INVALID_RULE',
        message: /GET \/broken/,
      },
    )
  }
})

await t.test('a policy that the lint or helmet refuses stops the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await t.rejects(
    async () => {
      await app.register(securityHeaders, { csp: { 'default-src': ['self'] } })
    },
    { code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY', message: /CSP-INVALID-KEYWORD/ },
  )
  const late = await build(t)
  late.get(
    '/',
    {
      config: {
        securityHeaders: {
          preset: 'web',
          csp: { 'frame-src': ["'none'"] },
          relax: { 'default-src': 'every other directive is set' },
        },
      },
    },
    async () => 'x',
  )
  await t.rejects(
    async () => {
      await late.ready()
    },
    {
      code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY',
      message: /route GET \/: .*needs a default-src/,
    },
  )
})

await t.test('the plugin must be registered before the plugins of later phases', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  declarePhase(app, '@parapet/rate-limits', 'peer-limits')
  await t.rejects(
    async () => {
      await app.register(securityHeaders)
    },
    { code: 'PARAPET_KIT_WRONG_ORDER', message: /must be registered before @parapet\/rate-limits/ },
  )
})

await t.test('names of helmet and of @fastify/cors lead to the right line', async (t) => {
  const hints: [object, RegExp][] = [
    [{ contentSecurityPolicy: {} }, /"contentSecurityPolicy" is unknown, did you mean "csp: \{/],
    [{ crossOriginEmbedderPolicy: false }, /did you mean "embedderPolicy: 'require-corp'"/],
    [{ crossOriginOpenerPolicy: {} }, /did you mean "openerPolicy: 'same-origin'"/],
    [{ strictTransportSecurity: {} }, /did you mean "hsts: \{ maxAgeSeconds: 31536000 \}"/],
    [{ hsts: { maxAge: 60 } }, /did you mean "hsts.maxAgeSeconds: 31536000"/],
    [{ hsts: { includeSubdomains: true } }, /did you mean "hsts.includeSubDomains: true"/],
    [{ frameguard: { action: 'deny' } }, /did you mean "frameOptions: 'deny'"/],
    [{ xXssProtection: false }, /X-XSS-Protection is never sent/],
    [{ csp: { directives: {} } }, /did you mean "csp: \{ 'img-src'.*without "directives""/],
    [{ csp: { scriptSrc: [] } }, /"csp.scriptSrc" must be a directive.*did you mean "script-src"/],
    [{ permissions: { screenWakeLock: [] } }, /did you mean "screen-wake-lock"/],
    [{ cors: { origin: '*' } }, /did you mean "cors.origins: \['https:\/\/app.example.com'\]"/],
    [{ cors: { maxAge: 60 } }, /did you mean "cors.maxAgeSeconds: 7200"/],
  ]
  for (const [options, message] of hints) {
    const app = Fastify()
    t.after(() => app.close())
    const code = 'PARAPET_SECURITY_HEADERS_INVALID_OPTION'
    await t.rejects(async () => app.register(securityHeaders, options), { code, message })
  }
  const app = await build(t)
  t.throws(
    () =>
      app.get(
        '/',
        { config: { securityHeaders: { xFrameOptions: 'DENY' } as never } },
        async () => '',
      ),
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_RULE', message: /frameOptions: 'deny'/ },
  )
})

await t.test('no message shows a regular expression', async (t) => {
  const odd = '\u00e4 ; \r\n'
  const app = Fastify()
  t.after(() => app.close())
  const error = (await app
    .register(securityHeaders, {
      csp: { 'script-src': [odd] },
      scriptHashes: [odd],
      styleHashes: [odd],
      waivers: [{ rule: 'X', reason: 'long enough', until: odd }],
      cors: { origins: ['https://a.example'], allowedHeaders: [odd], exposedHeaders: [odd] },
      cookies: { readable: [odd] },
      csrf: { secret: 's'.repeat(32), cookieName: odd, formField: odd },
      reports: { path: odd },
      securityTxt: { contact: [odd], expires: odd, preferredLanguages: [odd] },
      build: { folder: '/x', base: odd },
    })
    .then(
      () => ({ message: '' }),
      (given: unknown) => given,
    )) as Error
  const lines = error.message.split('\n').slice(1)
  t.equal(lines.length, 14, error.message)
  for (const line of lines) {
    t.match(line, / must be /)
    t.notMatch(line, /[\^$]\/|\\[wds]|invalid form/)
  }
})
