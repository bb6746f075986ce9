/** The lint of an enforced Content-Security-Policy: csp_evaluator and further checks. */
import { CspEvaluator } from 'csp_evaluator'
import { Severity, Type } from 'csp_evaluator/dist/finding.js'
import { CspParser } from 'csp_evaluator/dist/parser.js'
import type { CspDirectives } from '../csp/directives.ts'
import { REPORT_GROUP } from '../csp/effective-policies.ts'
import { NONCE_SOURCE, withoutNonce } from '../csp/nonce.ts'
import { rules, type RuleId } from './rules.ts'

type Found = readonly [rule: RuleId, found: string]

/** Replaces the nonce source for csp_evaluator, which checks length and alphabet of a nonce. */
const SAMPLE_NONCE = "'nonce-AAAAAAAAAAAAAAAAAAAAAA=='"

/** Finds the rules that a policy breaks, with a nonce and without one. */
export function lintCsp(enforced: CspDirectives): Found[] {
  return [
    ...lintSources(enforced),
    ...lintReach(enforced),
    ...lintWorkers(enforced),
    ...evaluate(enforced),
    ...evaluate(withoutNonce(enforced)),
  ]
}

function evaluate(directives: CspDirectives): Found[] {
  const text = Object.entries(directives)
    .map(([name, sources]) => [name, ...sources.map(withSampleNonce)].join(' '))
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
    // The library parses hosts as URLs, and throws if one is invalid.
    return [['CSP-SOURCE-FORM', (error as { input?: string }).input ?? String(error)]]
  }
}

/** A type of finding that is missing from the table must still fail the lint. */
function ruleOf(type: Type): RuleId {
  const id = `CSP-${Type[type].replaceAll('_', '-')}`
  return id in rules ? (id as RuleId) : 'CSP-UNKNOWN-DIRECTIVE'
}

function withSampleNonce(source: string): string {
  return source === NONCE_SOURCE ? SAMPLE_NONCE : source
}

function lintSources(directives: CspDirectives): Found[] {
  const found: Found[] = []
  for (const [name, sources] of Object.entries(directives)) {
    if (sources.length > 1 && sources.includes("'none'")) found.push(['CSP-MIXED-NONE', name])
    for (const source of sources) {
      if (source.startsWith("'nonce-")) found.push(['CSP-LITERAL-NONCE', name])
      if (/^'?sha\d/.test(source) && !isHash(source)) {
        found.push(['CSP-BAD-HASH', `${name} ${source}`])
      }
      if (source === "'unsafe-hashes'" && name.startsWith('script-')) {
        found.push(['CSP-SCRIPT-UNSAFE-HASHES', name])
      }
      if (source === "'unsafe-inline'" && name.startsWith('style-src')) {
        found.push(['CSP-STYLE-UNSAFE-INLINE', name])
      }
    }
  }
  return found
}

const HASH = /^'sha(256|384|512)-([\w+/-]+={0,2})'$/
const HASH_BYTES: Readonly<Record<string, number>> = { 256: 32, 384: 48, 512: 64 }

function isHash(source: string): boolean {
  const [, bits = '', base64 = ''] = HASH.exec(source) ?? []
  return Buffer.from(base64, 'base64').length === HASH_BYTES[bits]
}

const OPEN = new Set(['*', 'http:', 'https:', 'ws:', 'wss:', 'data:', 'blob:'])

/** Finds directives that let an injected script or form reach any site. */
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

/** Reports to a group that no header defines are lost. The plugin defines `default`, by `reports`. */
export function lintReportGroup(
  policies: readonly (CspDirectives | null)[],
  reportPath: string | null,
): Found[] {
  return policies
    .flatMap((directives) => directives?.['report-to'] ?? [])
    .filter((group) => reportPath === null || group !== REPORT_GROUP)
    .map((group) => ['CSP-REPORT-GROUP', `report-to ${group}`])
}

/** Finds script files of a page whose inline code is allowed, but which no source allows. */
export function lintExternalScripts(
  enforced: CspDirectives,
  externalScripts: readonly string[],
): Found[] {
  const sources = enforced['script-src-elem'] ??
    enforced['script-src'] ??
    enforced['default-src'] ?? ['*']
  const byUrl = sources.some((source) => source === "'self'" || !source.startsWith("'"))
  if (byUrl && !sources.includes("'strict-dynamic'")) return []
  return externalScripts.map((file) => ['CSP-EXTERNAL-SCRIPT', file])
}

/** A worker is started by a URL, which Trusted Types refuse as text. */
function lintWorkers(directives: CspDirectives): Found[] {
  const workers = directives['worker-src'] ?? ["'none'"]
  const noPolicy = directives['trusted-types']?.includes("'none'") === true
  const dead = noPolicy && 'require-trusted-types-for' in directives && !workers.includes("'none'")
  return dead ? [['CSP-WORKER-TRUSTED-TYPES', `worker-src ${workers.join(' ')}`]] : []
}
