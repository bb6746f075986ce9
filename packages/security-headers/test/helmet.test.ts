/** What is recorded at boot against what @fastify/helmet sends on each request. */
import { createRequire } from 'node:module'
import fastifyHelmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import { securityHeaders } from '@parapet/security-headers'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t from 'tap'
import { NOTHING } from '../src/block.ts'
import { withoutNonce, type CspDirective, type CspDirectives } from '../src/csp.ts'
import { directiveNames } from '../src/policy-options.ts'
import {
  embedderPolicies,
  openerPolicies,
  policyOf,
  referrerPolicies,
  resourcePolicies,
} from '../src/policy.ts'
import { presets } from '../src/presets.ts'
import { createHelmetRecorder } from '../src/recording-hooks.ts'
import { rules } from '../src/rules.ts'
import { nextMonth } from './replies.ts'

/** What the lint would refuse is sent all the same here: the bytes are what counts. */
const waivers = Object.keys(rules)
  .filter((rule) => !rule.startsWith('WAIVER-'))
  .map((rule) => ({ rule, reason: 'a test of the bytes', until: nextMonth() }))

/** Headers of this plugin's own, and those of Fastify. */
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
/** Directives whose values are no sources. */
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

/** Headers of helmet that can be left out, each by the option of helmet that does it. */
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
/** Headers of helmet that this plugin never sends: the first is for Internet Explorer alone. */
const NEVER = ['xDownloadOptions', 'xPoweredBy', 'xXssProtection']

const optionSets = fc.record(
  {
    csp: directives,
    reportOnly: fc.constant('a test of the bytes'),
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
    drawsNonce: fc.boolean(),
  },
  { requiredKeys: ['off', 'drawsNonce'] },
)
type OptionSet = typeof optionSets extends fc.Arbitrary<infer T> ? T : never

/** The policy as a reply carries it. @param nonce what its handler drew, if it did. */
function cspOf(set: OptionSet, nonce: string): CspDirectives {
  const merged: CspDirectives = { ...presets.docs.policy.csp, ...set.csp }
  // What browsers would complain of in a policy that is only reported on.
  const { sandbox: _sandbox, 'upgrade-insecure-requests': _upgrade, ...observed } = merged
  const sent = set.reportOnly === undefined ? merged : observed
  if (nonce === '') return withoutNonce(sent)
  const put = (word: string) => (word === "'nonce'" ? `'nonce-${nonce}'` : word)
  return Object.fromEntries(Object.entries(sent).map(([name, list]) => [name, list.map(put)]))
}

/** The same in helmet's own words. */
function helmetOptions(set: OptionSet, nonce: string): FastifyHelmetOptions {
  const { policy } = presets.docs
  const { hsts = policyOf('docs').hsts } = set
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

/** A reply of an app, without what is Fastify's own. */
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

await t.test('what is frozen at boot is, byte for byte, what @fastify/helmet sends', async (t) => {
  await fc.assert(
    fc.asyncProperty(optionSets, async (set) => {
      const { off, drawsNonce, ...options } = set
      const relax = Object.fromEntries(off.map((name) => [name, 'left out by the test']))
      const draws =
        drawsNonce && Object.values(set.csp ?? {}).some((list) => list.includes("'nonce'"))
      const mine = await ask(
        async (app) =>
          app.register(securityHeaders, { preset: 'docs', ...options, relax, waivers }),
        (reply) => (draws ? reply.cspNonce.script : ''),
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

await t.test('a helmet that has learned a new header is noticed', async (t) => {
  const helmet = requireOfHelmet('helmet') as Readonly<Record<string, unknown>>
  // Every option is known here: one that is new would be on by default.
  const old = ['default', 'dnsPrefetchControl', 'frameguard', 'hidePoweredBy', 'hsts', 'ieNoOpen']
  const older = ['noSniff', 'permittedCrossDomainPolicies', 'xssFilter']
  const names = Object.keys(helmet).filter((name) => ![...old, ...older].includes(name))
  const known = ['contentSecurityPolicy', ...Object.values(SWITCHES), ...NEVER]
  t.same(names.toSorted(), known.toSorted())
  t.same(Object.keys(NOTHING).toSorted(), known.toSorted())
  t.same(await createHelmetRecorder()(NOTHING), {}, 'all of it can be switched off')
})
