/** Compares the headers that are recorded at boot with those that @fastify/helmet sends. */
import { createRequire } from 'node:module'
import fastifyHelmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import { securityHeaders } from '@parapet/security-headers'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t from 'tap'
import { directiveNames, type CspDirective, type CspDirectives } from '../src/csp/directives.ts'
import { withoutNonce } from '../src/csp/nonce.ts'
import { helmetOff } from '../src/headers/helmet-settings.ts'
import { createHelmetRecorder } from '../src/http/recorders.ts'
import { rules } from '../src/lint/rules.ts'
import { embedderPolicies, openerPolicies, resourcePolicies } from '../src/policy/cross-origin.ts'
import { presetPolicy, presets } from '../src/presets/presets.ts'
import { referrerPolicies } from '../src/policy/referrer-policy.ts'
import { nextMonth } from './helpers.ts'

/** Waives every rule, so that policies which the lint refuses can be compared as well. */
const waivers = Object.keys(rules)
  .filter((rule) => !rule.startsWith('WAIVER-'))
  .map((rule) => ({ rule, reason: 'a comparison of the header values', until: nextMonth() }))

/** Headers of this plugin and of Fastify that helmet does not set. */
const OWN = ['permissions-policy', 'cache-control', 'date', 'content-length', 'connection']

const source = fc.constantFrom(
  "'self'",
  "'nonce'",
  "'strict-dynamic'",
  "'unsafe-inline'",
  "'report-sample'",
  'https://a.example',
  'https://*.b.example:8443/path/',
  'data:',
  'wss://c.example',
)
const sources: fc.Arbitrary<readonly string[]> = fc.oneof(
  fc.constant(["'none'"]),
  fc.uniqueArray(source, { minLength: 1, maxLength: 5 }),
)
/** Directives whose values are not sources. */
const WORDS: Readonly<Partial<Record<CspDirective, readonly string[][]>>> = {
  'upgrade-insecure-requests': [[]],
  'require-trusted-types-for': [["'script'"]],
  'trusted-types': [["'none'"], ['one', 'two', "'allow-duplicates'"], ['*']],
  sandbox: [[], ['allow-forms', 'allow-scripts']],
  'report-to': [['default']],
  'report-uri': [['/reports', 'https://r.example/x']],
}
const directives: fc.Arbitrary<CspDirectives> = fc.record(
  Object.fromEntries(
    directiveNames.map((name): [string, fc.Arbitrary<readonly string[]>] => {
      const words = WORDS[name]
      return [name, words === undefined ? sources : fc.constantFrom(...words)]
    }),
  ),
  { requiredKeys: [] },
)

/** The headers of helmet that can be left out, with the option of helmet that does so. */
const SWITCHES = {
  'cross-origin-embedder-policy': 'crossOriginEmbedderPolicy',
  'cross-origin-opener-policy': 'crossOriginOpenerPolicy',
  'cross-origin-resource-policy': 'crossOriginResourcePolicy',
  'origin-agent-cluster': 'originAgentCluster',
  'referrer-policy': 'referrerPolicy',
  'strict-transport-security': 'strictTransportSecurity',
  'x-content-type-options': 'xContentTypeOptions',
  'x-dns-prefetch-control': 'xDnsPrefetchControl',
  'x-frame-options': 'xFrameOptions',
  'x-permitted-cross-domain-policies': 'xPermittedCrossDomainPolicies',
} as const
/** Headers of helmet that this plugin never sends. The first is for Internet Explorer only. */
const NEVER = ['xDownloadOptions', 'xPoweredBy', 'xXssProtection']

const optionSets = fc.record(
  {
    csp: directives,
    reportOnly: fc.constant('a comparison of the header values'),
    hsts: fc.record({
      maxAgeSeconds: fc.integer({ min: 0, max: 100_000_000 }),
      includeSubDomains: fc.boolean(),
      preload: fc.boolean(),
    }),
    referrerPolicy: fc.constantFrom(...referrerPolicies),
    openerPolicy: fc.constantFrom(...openerPolicies),
    embedderPolicy: fc.constantFrom(...embedderPolicies),
    resourcePolicy: fc.constantFrom(...resourcePolicies),
    frameOptions: fc.constantFrom('deny' as const, 'sameorigin' as const),
    off: fc.subarray(Object.keys(SWITCHES) as (keyof typeof SWITCHES)[]),
    readsNonce: fc.boolean(),
  },
  { requiredKeys: ['off', 'readsNonce'] },
)
type OptionSet = typeof optionSets extends fc.Arbitrary<infer T> ? T : never

/** The policy that a response carries. @param nonce the nonce, or `''` without one. */
function cspOf(set: OptionSet, nonce: string): CspDirectives {
  const merged: CspDirectives = { ...presets.docs.policy.csp, ...set.csp }
  // Browsers log an error for these directives in a report-only policy.
  const { sandbox: _sandbox, 'upgrade-insecure-requests': _upgrade, ...observed } = merged
  const sent = set.reportOnly === undefined ? merged : observed
  if (nonce === '') return withoutNonce(sent)
  const put = (source: string) => (source === "'nonce'" ? `'nonce-${nonce}'` : source)
  return Object.fromEntries(Object.entries(sent).map(([name, list]) => [name, list.map(put)]))
}

/** The same settings as options of helmet. */
function helmetOptions(set: OptionSet, nonce: string): FastifyHelmetOptions {
  const { policy } = presets.docs
  const { hsts = presetPolicy('docs').hsts } = set
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      reportOnly: set.reportOnly !== undefined,
      directives: cspOf(set, nonce),
    },
    crossOriginEmbedderPolicy: { policy: set.embedderPolicy ?? policy.embedderPolicy },
    crossOriginOpenerPolicy: { policy: set.openerPolicy ?? policy.openerPolicy },
    crossOriginResourcePolicy: { policy: set.resourcePolicy ?? policy.resourcePolicy },
    referrerPolicy: { policy: set.referrerPolicy ?? policy.referrerPolicy },
    strictTransportSecurity: {
      maxAge: hsts.maxAgeSeconds,
      includeSubDomains: hsts.includeSubDomains,
      preload: hsts.preload,
    },
    xDnsPrefetchControl: { allow: false },
    xFrameOptions: { action: set.frameOptions ?? policy.frameOptions },
    xPermittedCrossDomainPolicies: { permittedPolicies: 'none' },
    ...Object.fromEntries(set.off.map((name) => [SWITCHES[name], false])),
    ...Object.fromEntries(NEVER.map((name) => [name, false])),
  }
}

/** The headers and the body of a response, without the headers of Fastify. */
async function ask(
  register: (app: FastifyInstance) => Promise<unknown>,
  handler: (reply: FastifyReply) => string,
) {
  const app = Fastify()
  await register(app)
  app.get('/', async (_request, reply) => handler(reply))
  const { headers, body } = await app.inject('/')
  await app.close()
  const named = Object.entries(headers).filter(([name]) => !OWN.includes(name))
  return { headers: Object.fromEntries(named), body }
}

await t.test('the recorded headers equal those of @fastify/helmet byte for byte', async (t) => {
  await fc.assert(
    fc.asyncProperty(optionSets, async (set) => {
      const { off, readsNonce, ...options } = set
      const relax = Object.fromEntries(off.map((name) => [name, 'this test leaves it out']))
      const reads =
        readsNonce && Object.values(set.csp ?? {}).some((list) => list.includes("'nonce'"))
      const mine = await ask(
        async (app) =>
          app.register(securityHeaders, { preset: 'docs', ...options, relax, waivers }),
        (reply) => (reads ? reply.cspNonce.script : ''),
      )
      const theirs = await ask(
        async (app) => app.register(fastifyHelmet, helmetOptions(set, mine.body)),
        () => mine.body,
      )
      t.same(mine, theirs)
    }),
    { numRuns: runs(200, 2000) },
  )
})

const requireOfHelmet = createRequire(createRequire(import.meta.url).resolve('@fastify/helmet'))

await t.test('a new header of helmet fails this test', async (t) => {
  const helmet = requireOfHelmet('helmet') as Readonly<Record<string, unknown>>
  // An unknown option of helmet would be switched on by default.
  const aliases = [
    'default',
    'dnsPrefetchControl',
    'frameguard',
    'hidePoweredBy',
    'hsts',
    'ieNoOpen',
  ]
  const moreAliases = ['noSniff', 'permittedCrossDomainPolicies', 'xssFilter']
  const names = Object.keys(helmet).filter((name) => ![...aliases, ...moreAliases].includes(name))
  const known = ['contentSecurityPolicy', ...Object.values(SWITCHES), ...NEVER]
  t.same(names.toSorted(), known.toSorted())
  t.same(Object.keys(helmetOff).toSorted(), known.toSorted())
  t.same(await createHelmetRecorder()(helmetOff), {}, 'every header can be switched off')
})
