/** Content-Security-Policy as data: directives, the place of the nonce, and both of its spellings. */

/** The directives that can be set. @see W3C CSP Level 3, section 6 */
export type CspDirective =
  | `${'child' | 'connect' | 'default' | 'font' | 'frame' | 'img' | 'manifest' | 'media'}-src`
  | `${'object' | 'script' | 'style' | 'worker'}-src`
  | `${'script' | 'style'}-src-${'attr' | 'elem'}`
  | 'base-uri'
  | 'form-action'
  | 'frame-ancestors'
  | 'report-to'
  | 'report-uri'
  | 'require-trusted-types-for'
  | 'sandbox'
  | 'trusted-types'
  | 'upgrade-insecure-requests'

/**
 * Sources by directive. Keywords carry their quotes: `"'self'"`. The source `"'nonce'"` stands for
 * the nonce of the reply.
 */
export type CspDirectives = { readonly [D in CspDirective]?: readonly string[] }

/** The source that stands for the nonce. */
export const NONCE_SOURCE = "'nonce'"

/** Stands in the recorded header where the nonce goes; unlike any other source. */
export const NONCE_PROBE = 'parapetparapetparapet=='

/** Whether a policy has a place for a nonce. */
export function wantsNonce(directives: CspDirectives): boolean {
  return Object.values(directives).some((sources) => sources.includes(NONCE_SOURCE))
}

/** The policy as it is recorded for replies with a nonce. */
export function withNonceProbe(directives: CspDirectives): CspDirectives {
  return mapSources(directives, (sources) =>
    sources.map((source) => (source === NONCE_SOURCE ? `'nonce-${NONCE_PROBE}'` : source)),
  )
}

/** These mean nothing without a nonce or a hash beside them. */
const HOLLOW = new Set(["'strict-dynamic'", "'report-sample'"])

/**
 * The policy for replies whose handler asked for no nonce: nothing that would have needed one runs.
 */
export function withoutNonce(directives: CspDirectives): CspDirectives {
  return mapSources(directives, (sources) => {
    if (!sources.includes(NONCE_SOURCE)) return sources
    const rest = sources.filter((source) => source !== NONCE_SOURCE)
    return rest.every((source) => HOLLOW.has(source)) ? ["'none'"] : rest
  })
}

/** Adds sources to a directive; `'none'` gives way to them. */
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

function mapSources(
  directives: CspDirectives,
  change: (sources: readonly string[]) => readonly string[],
): CspDirectives {
  return Object.fromEntries(
    Object.entries(directives).map(([directive, sources]) => [directive, change(sources)]),
  )
}
