import { fileURLToPath } from 'node:url'
import { createManualClock } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { presetNames } from '../src/policy/policy.ts'
import { rules, type RuleId } from '../src/lint/rules.ts'
import { writeBuild } from './vite-site.ts'

const UNSAFE = 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY'
const NOW = Date.parse('2026-11-21T12:00:00Z')
const clock = createManualClock(NOW)
const why = 'a reason that is long enough'

async function boot(t: Test, options: object, rule?: object): Promise<void> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(securityHeaders, { clock, ...options } as SecurityHeadersOptions)
  if (rule !== undefined) app.get('/', { config: { securityHeaders: rule } }, async () => 'x')
  await app.ready()
}

const externalPage = fileURLToPath(new URL('pages/external-script.html', import.meta.url))

const scripts = (...sources: string[]) => ({ csp: { 'script-src': sources } })
const txt = (more: object) => ({
  securityTxt: { contact: ['mailto:a@example.com'], expires: '2027-06-01T00:00:00Z', ...more },
})
const cors = (more: object) => ({ cors: { origins: ['https://app.example'], ...more } })
const origins = (...list: unknown[]) => ({ cors: { origins: list } })
const waive = (more: object) => ({
  csp: { 'style-src': ["'unsafe-inline'"] },
  waivers: [{ rule: 'CSP-STYLE-UNSAFE-INLINE', reason: why, until: '2027-05-01', ...more }],
})

/** For each rule: settings that break it, and the most similar settings that do not. */
const cases: Partial<Record<RuleId, readonly [bad: object, good: object]>> = {
  'CSP-INVALID-KEYWORD': [scripts("'unsafe-inlin'"), scripts("'none'")],
  'CSP-MISSING-DIRECTIVES': [
    { preset: 'web', relax: { 'base-uri': why } },
    { preset: 'web', csp: { 'base-uri': ["'self'"] } },
  ],
  'CSP-SCRIPT-UNSAFE-INLINE': [scripts("'unsafe-inline'"), scripts("'nonce'")],
  'CSP-SCRIPT-UNSAFE-EVAL': [
    scripts("'nonce'", "'unsafe-eval'"),
    scripts("'nonce'", "'wasm-unsafe-eval'"),
  ],
  'CSP-PLAIN-URL-SCHEMES': [scripts('data:'), { csp: { 'img-src': ['data:'] } }],
  'CSP-PLAIN-WILDCARD': [scripts('*'), scripts("'none'")],
  'CSP-SCRIPT-ALLOWLIST-BYPASS': [
    scripts('https://cdn.jsdelivr.net'),
    scripts("'nonce'", "'strict-dynamic'"),
  ],
  'CSP-OBJECT-ALLOWLIST-BYPASS': [
    { csp: { 'object-src': ['https://ajax.googleapis.com'] } },
    { csp: { 'object-src': ["'none'"] } },
  ],
  'CSP-NONCE-LENGTH': [scripts("'nonce-abc'"), scripts("'nonce'")],
  'CSP-IP-SOURCE': [
    { csp: { 'img-src': ['https://192.0.2.1'] } },
    { csp: { 'img-src': ['https://img.example'] } },
  ],
  'CSP-SRC-HTTP': [
    { csp: { 'img-src': ['http://img.example'] } },
    { csp: { 'img-src': ['https://img.example'] } },
  ],
  'CSP-RELAXED': [
    { relax: { 'content-security-policy': why } },
    { relax: { 'upgrade-insecure-requests': why } },
  ],
  'CSP-STYLE-UNSAFE-INLINE': [
    { csp: { 'style-src': ["'unsafe-inline'"] } },
    { csp: { 'style-src': ["'nonce'"] } },
  ],
  'CSP-FRAME-ANCESTORS': [{ csp: { 'frame-ancestors': ['*'] } }, {}],
  'CSP-FORM-ACTION': [{ relax: { 'form-action': why } }, { csp: { 'form-action': ["'self'"] } }],
  'CSP-OPEN-CONNECT': [
    { csp: { 'connect-src': ['https:'] } },
    { csp: { 'connect-src': ['https://api.example'] } },
  ],
  'CSP-OPEN-FRAMES': [
    { csp: { 'frame-src': ['https:'] } },
    { csp: { 'frame-src': ['https://pay.example'] } },
  ],
  'CSP-MIXED-NONE': [
    { csp: { 'img-src': ["'none'", "'self'"] } },
    { csp: { 'img-src': ["'self'"] } },
  ],
  'CSP-SOURCE-FORM': [
    { csp: { 'img-src': ['https://[img.example'] } },
    { csp: { 'img-src': ['https://img.example'] } },
  ],
  'CSP-LITERAL-NONCE': [scripts("'nonce-AAAAAAAAAAAAAAAAAAAAAA=='"), scripts("'nonce'")],
  'CSP-REPORT-GROUP': [
    { csp: { 'report-to': ['mine'] } },
    { csp: { 'report-to': ['default'] }, reports: {} },
  ],
  'CSP-WORKER-TRUSTED-TYPES': [
    { preset: 'web', csp: { 'worker-src': ["'self'"] } },
    { preset: 'web', csp: { 'worker-src': ["'self'"], 'trusted-types': ['default'] } },
  ],
  'CSP-EXTERNAL-SCRIPT': [
    { preset: 'web', hashFiles: [externalPage] },
    { preset: 'docs', hashFiles: [externalPage] },
  ],
  'CSP-BAD-HASH': [
    { scriptHashes: ["'sha256-AAAA'"] },
    { scriptHashes: ["'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"] },
  ],
  'CSP-SCRIPT-UNSAFE-HASHES': [
    scripts("'unsafe-hashes'", "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"),
    scripts("'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"),
  ],
  'HSTS-SHORT': [{ hsts: { maxAgeSeconds: 31_535_999 } }, { hsts: { maxAgeSeconds: 31_536_000 } }],
  'HSTS-SUBDOMAINS': [
    { hsts: { includeSubDomains: false } },
    { hsts: { includeSubDomains: true } },
  ],
  'HSTS-PRELOAD': [
    { hsts: { preload: true, includeSubDomains: false } },
    { hsts: { preload: true } },
  ],
  'HSTS-RELAXED': [{ relax: { 'strict-transport-security': why } }, {}],
  'HEADER-NOSNIFF': [{ relax: { 'x-content-type-options': why } }, {}],
  'HEADER-REFERRER': [
    { referrerPolicy: 'unsafe-url' },
    { referrerPolicy: 'strict-origin-when-cross-origin' },
  ],
  'HEADER-OPENER': [{ openerPolicy: 'unsafe-none' }, { openerPolicy: 'same-origin-allow-popups' }],
  'HEADER-EMBEDDER': [{ embedderPolicy: 'unsafe-none' }, { embedderPolicy: 'credentialless' }],
  'HEADER-RESOURCE': [{ resourcePolicy: 'cross-origin' }, { resourcePolicy: 'same-site' }],
  'HEADER-FRAME-MISMATCH': [
    { frameOptions: 'sameorigin' },
    { frameOptions: 'sameorigin', csp: { 'frame-ancestors': ["'self'"] } },
  ],
  'PERMISSION-WILDCARD': [
    { permissions: { camera: ['*'] } },
    { permissions: { camera: ['self'] } },
  ],
  'PERMISSION-HTTP': [
    { permissions: { camera: ['http://a.example'] } },
    { permissions: { camera: ['https://a.example'] } },
  ],
  'CACHE-HANDLER': [{ cacheControl: 'handler' }, { cacheControl: 'authenticated' }],
  'CORS-WILDCARD-CREDENTIALS': [
    cors({ origins: ['*'], credentials: true }),
    cors({ origins: ['*'] }),
  ],
  'CORS-REFLECT': [{ cors: { origins: true } }, cors({ allowOrigin: () => true })],
  'CORS-REGEXP': [origins(/example\.com/), origins('https://*.example.com')],
  'CORS-NULL': [origins('null'), origins('https://app.example')],
  'CORS-ORIGIN-FORM': [origins('https://a.test/'), origins('https://a.test')],
  'CORS-INSECURE-ORIGIN': [origins('http://app.example'), origins('http://localhost:5173')],
  'CORS-PATTERN': [origins('https://*example.com'), origins('https://*.example.com')],
  'CORS-PUBLIC-SUFFIX': [origins('https://*.github.io'), origins('https://*.me.github.io')],
  'CORS-ANY-METHOD': [cors({ methods: ['*'] }), cors({ methods: ['DELETE'] })],
  'CORS-METHOD-FORM': [cors({ methods: ['patch'] }), cors({ methods: ['PATCH'] })],
  'CORS-ANY-HEADER': [cors({ allowedHeaders: ['*'] }), cors({ allowedHeaders: ['x-trace'] })],
  'CORS-FORBIDDEN-HEADER': [
    cors({ allowedHeaders: ['Sec-Token'] }),
    cors({ allowedHeaders: ['x-sec-token', 'cookies', 'date-of'] }),
  ],
  'CORS-EXPOSE-ANY': [cors({ exposedHeaders: ['*'] }), cors({ exposedHeaders: ['etag'] })],
  'CORS-EXPOSE-COOKIE': [
    cors({ exposedHeaders: ['Set-Cookie'] }),
    cors({ exposedHeaders: ['etag'] }),
  ],
  'CORS-MAX-AGE': [cors({ maxAgeSeconds: 86_401 }), cors({ maxAgeSeconds: 86_400 })],
  'CORS-PRIVATE-NETWORK': [
    cors({ origins: ['*'], privateNetwork: true }),
    cors({ privateNetwork: true }),
  ],
  'CORS-NOBODY': [{ cors: {} }, cors({})],
  'ISOLATION-TRUST': [
    { isolation: { trustedOrigins: ['https://*.a.example'] } },
    { isolation: { trustedOrigins: ['https://a.example'] } },
  ],
  'ISOLATION-OPEN': [{ isolation: { scope: 'cross-site' } }, { isolation: { scope: 'same-site' } }],
  'COOKIE-READABLE-SESSION': [
    { cookies: { readable: ['session'] } },
    { cookies: { readable: ['theme', 'XSRF-TOKEN'] } },
  ],
  'COOKIE-AUDIT-OFF': [{ cookies: { mode: 'off' } }, { cookies: { mode: 'strict' } }],
  'HTTPS-HOST': [
    { https: { hosts: ['https://a.example'] } },
    { https: { hosts: ['a.example:8443'] } },
  ],
  // A date in the past is reported, but does not stop the boot.
  'TXT-DATE': [txt({ expires: '2026-13-21T11:00:00Z' }), txt({ expires: '2026-11-21T11:00:00Z' })],
  'TXT-TOO-FAR': [
    txt({ expires: '2027-11-24T00:00:00Z' }),
    txt({ expires: '2027-11-21T00:00:00Z' }),
  ],
  'TXT-CONTACT': [
    txt({ contact: ['a@example.com'] }),
    txt({ contact: ['https://a.example/report'] }),
  ],
  'TXT-LINK': [txt({ policy: ['http://a.example'] }), txt({ policy: ['https://a.example'] })],
  'WAIVER-EXPIRED': [waive({ until: '2026-10-21' }), waive({ until: '2026-10-22' })],
  'WAIVER-TOO-LONG': [waive({ until: '2027-11-24' }), waive({})],
  'WAIVER-UNKNOWN': [waive({ rule: 'constructor' }), waive({})],
  'WAIVER-VAGUE': [waive({ reason: '   because   ' }), waive({})],
}

/** Rules of csp_evaluator that cannot be broken: the option readers or helmet refuse the values first. */
const unreachable = new Set([
  'CSP-MISSING-SEMICOLON',
  'CSP-UNKNOWN-DIRECTIVE',
  'CSP-NONCE-CHARSET',
  'CSP-DEPRECATED-DIRECTIVE',
  'CSP-SRC-NO-PROTOCOL',
  'CSP-EXPERIMENTAL',
  'CSP-WILDCARD-URL',
  'CSP-X-FRAME-OPTIONS-OBSOLETED',
  'CSP-STATIC-NONCE',
])

await t.test('every rule refuses weak settings and accepts strong ones', async (t) => {
  for (const id of Object.keys(rules) as RuleId[]) {
    if (unreachable.has(id)) continue
    const found = cases[id]
    if (found === undefined) {
      t.fail(`${id} has no cases`)
      continue
    }
    const [bad, good] = found
    await t.rejects(boot(t, bad), { code: UNSAFE, message: `  ${id} at ` }, id)
    await t.resolves(boot(t, good), `${id}: the settings that keep it`)
  }
})

await t.test('the message contains rule, place, reason and fix of every finding', async (t) => {
  const options = {
    cors: { origins: ['*', 'null'], credentials: true },
    hsts: { maxAgeSeconds: 1 },
  }
  const { message } = await boot(t, options).then(
    () => t.fail('the app started') as never,
    (error: Error) => error,
  )
  for (const id of ['CORS-WILDCARD-CREDENTIALS', 'CORS-NULL', 'HSTS-SHORT'] as const) {
    const { reason, fix } = rules[id]
    t.ok(message.includes(`  ${id} at `) && message.includes(`: ${reason}. Fix: ${fix}.`), id)
  }
})

await t.test('unsafe CORS settings stop the boot', async (t) => {
  const unsafe: [RuleId, object][] = [
    ['CORS-WILDCARD-CREDENTIALS', { origins: ['*'], credentials: true }],
    ['CORS-REFLECT', { origins: true, credentials: true }],
    ['CORS-REFLECT', { origins: [true] }],
    ['CORS-NULL', { origins: ['null'] }],
    ['CORS-REGEXP', { origins: [/https:\/\/example\.com/] }],
    ['CORS-ORIGIN-FORM', { origins: ['https://a.test/'] }],
    ['CORS-ORIGIN-FORM', { origins: ['a.test'] }],
    ['CORS-ANY-HEADER', { origins: ['https://a.test'], allowedHeaders: ['*'] }],
    ['CORS-ANY-METHOD', { origins: ['https://a.test'], methods: ['*'] }],
    ['CORS-PRIVATE-NETWORK', { origins: ['*'], privateNetwork: true }],
    ['CORS-INSECURE-ORIGIN', { origins: ['http://a.test'], credentials: true }],
    ['CORS-PUBLIC-SUFFIX', { origins: ['https://*.com'] }],
  ]
  for (const [id, options] of unsafe) {
    const { reason, fix } = rules[id]
    await t.rejects(boot(t, { cors: options }), { code: UNSAFE, message: id }, id)
    await t.rejects(
      boot(t, { cors: options }),
      { code: UNSAFE, message: `${reason}. Fix: ${fix}.` },
      id,
    )
  }
})

await t.test('invalid origins and links are refused in every option', async (t) => {
  const broken = ['https://a"b.test', 'https://a(b.test', 'https://a.test:0', 'https://a,b.test']
  for (const origin of broken) {
    await t.rejects(boot(t, origins(origin)), { code: UNSAFE, message: 'CORS-ORIGIN-FORM' }, origin)
    const trusted = { isolation: { trustedOrigins: [origin] } }
    await t.rejects(boot(t, trusted), { code: UNSAFE, message: 'ISOLATION-TRUST' }, origin)
  }
  for (const encryption of ['http://a.example/key', 'ftp://a.example']) {
    await t.rejects(
      boot(t, txt({ encryption: [encryption] })),
      { code: UNSAFE, message: 'TXT-LINK' },
      encryption,
    )
  }
  const keys = ['https://a.example/key', 'dns:a.example?type=OPENPGPKEY', 'openpgp4fpr:5f2de5']
  await t.resolves(boot(t, txt({ encryption: keys })))
})

await t.test('a policy that is often copied stops the boot', async (t) => {
  const copied = {
    'default-src': ["'self'"],
    'script-src': ["'self'", "'unsafe-inline'", "'unsafe-eval'", 'https://cdn.jsdelivr.net'],
    'style-src': ["'self'", "'unsafe-inline'", 'https://fonts.googleapis.com'],
    'img-src': ["'self'", 'data:', 'https:'],
    'connect-src': ["'self'", 'https:', 'wss:'],
  }
  await t.rejects(boot(t, { csp: copied }), { code: UNSAFE, message: 'CSP-SCRIPT-UNSAFE-INLINE' })
  await t.rejects(boot(t, { csp: copied }), { code: UNSAFE, message: 'CSP-SCRIPT-UNSAFE-EVAL' })
  await t.rejects(boot(t, { csp: copied }), { code: UNSAFE, message: 'CSP-OPEN-CONNECT' })
})

await t.test('no preset has findings, with or without reports', async (t) => {
  for (const preset of presetNames) {
    const options = { preset, ...(preset === 'spa' ? { build: { folder: writeBuild(t) } } : {}) }
    await t.resolves(boot(t, options), preset)
    const rule = { preset }
    await t.resolves(boot(t, { ...options, reports: {} }, rule), `${preset} with reports`)
  }
})

await t.test(
  'the lint checks route rules like the options, and both may waive rules',
  async (t) => {
    const weak = { csp: { 'style-src': ["'unsafe-inline'"] } }
    await t.rejects(boot(t, {}, weak), {
      code: UNSAFE,
      message: 'CSP-STYLE-UNSAFE-INLINE at route GET /: style-src',
    })
    const waivers = [{ rule: 'CSP-STYLE-UNSAFE-INLINE', reason: why, until: '2027-05-01' }]
    await t.resolves(boot(t, {}, { ...weak, waivers }))
    await t.resolves(boot(t, { waivers }, weak), 'waivers of the options apply to routes')
    await t.rejects(boot(t, {}, { ...weak, waivers: [{ ...waivers[0], until: '2026-01-01' }] }), {
      message: 'WAIVER-EXPIRED',
    })
  },
)

await t.test('every rule has a reason and a fix', async (t) => {
  for (const [id, { reason, fix }] of Object.entries(rules)) {
    t.match(id, /^[A-Z]+(-[A-Z]+)+$/)
    t.notMatch(`${reason}${fix}`, /\.$/)
    t.ok(reason.length > 10 && fix.length > 4, id)
  }
  t.ok(Object.keys(rules).length >= 60, `${Object.keys(rules).length} rules`)
})
