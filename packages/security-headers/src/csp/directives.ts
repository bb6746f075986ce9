/** Content-Security-Policy as data: its directives and their sources. */

/** The name of the header. */
export const CSP = 'content-security-policy'
/** The name of the header for a policy that browsers only report on. */
export const CSP_REPORT_ONLY = 'content-security-policy-report-only'

/** Every directive that can be set. @see W3C CSP Level 3, section 6 */
export const directiveNames = Object.freeze([
  'base-uri',
  'child-src',
  'connect-src',
  'default-src',
  'font-src',
  'form-action',
  'frame-ancestors',
  'frame-src',
  'img-src',
  'manifest-src',
  'media-src',
  'object-src',
  'report-to',
  'report-uri',
  'require-trusted-types-for',
  'sandbox',
  'script-src',
  'script-src-attr',
  'script-src-elem',
  'style-src',
  'style-src-attr',
  'style-src-elem',
  'trusted-types',
  'upgrade-insecure-requests',
  'worker-src',
] as const)

/** The name of a directive. @see W3C CSP Level 3, section 6 */
export type CspDirective = (typeof directiveNames)[number]

/**
 * Sources by directive. Keywords carry their quotes: `"'self'"`. The source `"'nonce'"` is replaced
 * by the nonce of each response.
 */
export type CspDirectives = { readonly [D in CspDirective]?: readonly string[] }

/** Adds sources to a directive and removes `'none'`, which browsers ignore beside other sources. */
export function addSources(
  directives: CspDirectives,
  directive: CspDirective,
  added: readonly string[],
): CspDirectives {
  if (added.length === 0) return directives
  const before = directives[directive] ?? directives['default-src'] ?? []
  const kept = before.filter((source) => source !== "'none'")
  return { ...directives, [directive]: [...new Set([...kept, ...added])] }
}
