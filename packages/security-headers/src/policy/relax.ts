/** The option `relax`: leaves out a header or a directive, with a written reason. */
import { option, type OptionReader } from '@parapet/kit'
import { CSP, CSP_REPORT_ONLY, directiveNames } from '../csp/directives.ts'
import { corsHeaders } from '../cors/cors-headers.ts'
import { namedMap } from './named-map.ts'
import { originWideHeaders } from './origin-wide.ts'

/** The setting that decides each header. */
export const headerSettings: Readonly<Record<string, string>> = Object.freeze({
  [CSP]: 'csp',
  'cross-origin-embedder-policy': 'embedderPolicy',
  'cross-origin-opener-policy': 'openerPolicy',
  'cross-origin-resource-policy': 'resourcePolicy',
  'cross-origin-embedder-policy-report-only': 'embedderPolicyReportOnly',
  'cross-origin-opener-policy-report-only': 'openerPolicyReportOnly',
  'document-policy': 'documentPolicy',
  'document-policy-report-only': 'documentPolicyReportOnly',
  'referrer-policy': 'referrerPolicy',
  'strict-transport-security': 'hsts',
  'x-frame-options': 'frameOptions',
  'permissions-policy': 'permissions',
  'integrity-policy': 'integrityPolicy',
  nel: 'networkErrorLogging',
  'report-to': 'networkErrorLogging',
  'cache-control': 'cacheControl',
})

/** Every header that a policy may set, and that `relax` may leave out. */
export const policyHeaders: readonly string[] = Object.freeze([
  ...Object.keys(headerSettings),
  CSP_REPORT_ONLY,
  'origin-agent-cluster',
  'reporting-endpoints',
  'x-content-type-options',
  'x-dns-prefetch-control',
  'x-permitted-cross-domain-policies',
])

/** A written reason, for later readers of the configuration: 10 to 500 characters. */
export const reasonReader: OptionReader<string> = option.text({ min: 10, max: 500 })

/** Reads the option `relax`. @param more names that are allowed beside those of every policy. */
export function relaxReader(
  more: readonly string[],
): OptionReader<Readonly<Record<string, string>>> {
  const names = [...policyHeaders, ...directiveNames, ...more]
  return namedMap(names, 'header or directive that this plugin sets', reasonReader)
}

/** Reads the option `passHeaders`. */
export const passReader: OptionReader<Readonly<Record<string, string>>> = namedMap(
  [...new Set([...policyHeaders, ...corsHeaders, ...originWideHeaders])],
  'header that this plugin sets',
  reasonReader,
)
