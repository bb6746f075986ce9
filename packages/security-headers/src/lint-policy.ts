/** The lint of one policy: what csp_evaluator finds, and what it does not look at. */
import { CspEvaluator } from 'csp_evaluator'
import { Severity, Type } from 'csp_evaluator/dist/finding.js'
import { CspParser } from 'csp_evaluator/dist/parser.js'
import { NONCE_SOURCE, withoutNonce, type CspDirectives } from './csp.ts'
import { effectiveCsp } from './block.ts'
import type { Policy } from './policy.ts'
import { rules, type Finding, type RuleId } from './rules.ts'

const YEAR_SECONDS = 31_536_000
/** What stands for the nonce while csp_evaluator looks: long enough, and of its alphabet. */
const SAMPLE_NONCE = "'nonce-AAAAAAAAAAAAAAAAAAAAAA=='"

/** Finds the weak spots of a policy. @param where whose policy it is. */
export function lintPolicy(policy: Policy, where: string): Finding[] {
  const { enforced } = effectiveCsp(policy, null)
  const found = [...lintHeaders(policy), ...lintFrames(policy, enforced)]
  if (enforced !== null) {
    found.push(...lintCsp(enforced), ...evaluate(enforced), ...evaluate(withoutNonce(enforced)))
  }
  const seen = new Set<string>()
  return found
    .map(([rule, text]) => ({ rule, where, found: text }))
    .filter(({ rule, found: text }) => !seen.has(`${rule} ${text}`) && seen.add(`${rule} ${text}`))
}

type Found = readonly [rule: RuleId, found: string]

function evaluate(directives: CspDirectives): Found[] {
  const text = Object.entries(directives)
    .map(([name, sources]) => [name, ...sources.map(withSample)].join(' '))
    .join(';')
  try {
    return new CspEvaluator(new CspParser(text).csp)
      .evaluate()
      .filter(({ severity }) => severity < Severity.NONE)
      .map(({ type, directive, value }) => [
        ruleOf(type),
        [directive, value].filter((part) => part !== undefined && part !== '').join(' '),
      ])
  } catch (error) {
    // The library reads hosts as URLs, and stumbles over what is none.
    return [['CSP-SOURCE-FORM', (error as { input?: string }).input ?? String(error)]]
  }
}

/** A kind of finding that is newer than this table is a finding all the same. */
function ruleOf(type: Type): RuleId {
  const id = `CSP-${Type[type].replaceAll('_', '-')}`
  return id in rules ? (id as RuleId) : 'CSP-UNKNOWN-DIRECTIVE'
}

function withSample(source: string): string {
  return source === NONCE_SOURCE ? SAMPLE_NONCE : source
}

const HASH = /^'sha(256|384|512)-([\w+/-]+={0,2})'$/
const HASH_LENGTHS: Readonly<Record<string, number>> = { 256: 32, 384: 48, 512: 64 }

function lintCsp(directives: CspDirectives): Found[] {
  const found: Found[] = []
  for (const [name, sources] of Object.entries(directives)) {
    if (sources.length > 1 && sources.includes("'none'")) found.push(['CSP-MIXED-NONE', name])
    for (const source of sources) {
      if (source.startsWith("'nonce-")) found.push(['CSP-LITERAL-NONCE', name])
      if (/^'?sha\d/.test(source) && !isHash(source))
        found.push(['CSP-BAD-HASH', `${name} ${source}`])
      if (source === "'unsafe-hashes'" && name.startsWith('script-')) {
        found.push(['CSP-SCRIPT-UNSAFE-HASHES', name])
      }
      if (source === "'unsafe-inline'" && name.startsWith('style-src')) {
        found.push(['CSP-STYLE-UNSAFE-INLINE', name])
      }
    }
  }
  return [...found, ...lintReach(directives)]
}

function isHash(source: string): boolean {
  const [, bits = '', base64 = ''] = HASH.exec(source) ?? []
  return Buffer.from(base64, 'base64').length === HASH_LENGTHS[bits]
}

const OPEN = new Set(['*', 'http:', 'https:', 'ws:', 'wss:', 'data:', 'blob:'])

/** Where an injected script, form or frame could reach. */
function lintReach(directives: CspDirectives): Found[] {
  const fallback = directives['default-src'] ?? ['*']
  const reach: readonly [RuleId, string, readonly string[]][] = [
    ['CSP-OPEN-CONNECT', 'connect-src', directives['connect-src'] ?? fallback],
    [
      'CSP-OPEN-FRAMES',
      'frame-src',
      directives['frame-src'] ?? directives['child-src'] ?? fallback,
    ],
    ['CSP-FORM-ACTION', 'form-action', directives['form-action'] ?? ['*']],
    ['CSP-FRAME-ANCESTORS', 'frame-ancestors', directives['frame-ancestors'] ?? ['*']],
  ]
  return reach.flatMap(([rule, name, sources]) => {
    const opened = sources.filter((source) => OPEN.has(source))
    return opened.length === 0 ? [] : [[rule, `${name} ${opened.join(' ')}`] as const]
  })
}

/** X-Frame-Options cannot name origins, so it only has to agree where it can. */
function lintFrames(policy: Policy, enforced: CspDirectives | null): Found[] {
  const ancestors = enforced?.['frame-ancestors']?.join(' ')
  if (ancestors === undefined || 'x-frame-options' in policy.relax) return []
  const agreed = policy.frameOptions === 'deny' ? "'none'" : "'self'"
  return ancestors === agreed
    ? []
    : [['HEADER-FRAME-MISMATCH', `${policy.frameOptions} beside frame-ancestors ${ancestors}`]]
}

const LEAKY = new Set(['origin-when-cross-origin', 'no-referrer-when-downgrade', 'unsafe-url'])

function lintHeaders(policy: Policy): Found[] {
  const { hsts, permissions, relax } = policy
  const checks: readonly [boolean, RuleId, string][] = [
    ['content-security-policy' in relax, 'CSP-RELAXED', 'relax'],
    ['strict-transport-security' in relax, 'HSTS-RELAXED', 'relax'],
    ['x-content-type-options' in relax, 'HEADER-NOSNIFF', 'relax'],
    [hsts.maxAgeSeconds < YEAR_SECONDS, 'HSTS-SHORT', `maxAgeSeconds ${hsts.maxAgeSeconds}`],
    [!hsts.includeSubDomains, 'HSTS-SUBDOMAINS', 'includeSubDomains false'],
    [
      hsts.preload && (!hsts.includeSubDomains || hsts.maxAgeSeconds < YEAR_SECONDS),
      'HSTS-PRELOAD',
      'preload true',
    ],
    [LEAKY.has(policy.referrerPolicy), 'HEADER-REFERRER', policy.referrerPolicy],
    [policy.openerPolicy === 'unsafe-none', 'HEADER-OPENER', 'unsafe-none'],
    [policy.embedderPolicy === 'unsafe-none', 'HEADER-EMBEDDER', 'unsafe-none'],
    [policy.resourcePolicy === 'cross-origin', 'HEADER-RESOURCE', 'cross-origin'],
    [policy.cacheControl === 'handler', 'CACHE-HANDLER', 'cacheControl handler'],
  ]
  const found: Found[] = checks.filter(([bad]) => bad).map(([, rule, text]) => [rule, text])
  for (const [feature, list] of Object.entries(permissions)) {
    if (list.includes('*')) found.push(['PERMISSION-WILDCARD', feature])
    if (list.some((entry) => entry.startsWith('http:'))) found.push(['PERMISSION-HTTP', feature])
  }
  return found
}
