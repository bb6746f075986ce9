/** The nonce in a policy: where it goes, and what the policy says without one. */
import type { CspDirectives } from './directives.ts'

/** The source that is replaced by the nonce of each response. */
export const NONCE_SOURCE = "'nonce'"

/** Marks the position of the nonce in a recorded header. No real source may contain this text. */
export const NONCE_PLACEHOLDER = 'parapetparapetparapet=='

/** Whether any directive contains the nonce source. */
export function hasNonceSource(directives: CspDirectives): boolean {
  return Object.values(directives).some((sources) => sources.includes(NONCE_SOURCE))
}

/** The policy for responses with a nonce, with the placeholder in place of the nonce. */
export function withNoncePlaceholder(directives: CspDirectives): CspDirectives {
  return mapSources(directives, (sources) =>
    sources.map((source) => (source === NONCE_SOURCE ? `'nonce-${NONCE_PLACEHOLDER}'` : source)),
  )
}

/** Sources that allow nothing by themselves: they only modify a nonce or a hash. */
const MODIFIERS = new Set(["'strict-dynamic'", "'report-sample'"])

/**
 * The policy for responses whose handler did not read the nonce. Code that would need the nonce
 * does not run.
 */
export function withoutNonce(directives: CspDirectives): CspDirectives {
  return mapSources(directives, (sources) => {
    if (!sources.includes(NONCE_SOURCE)) return sources
    const rest = sources.filter((source) => source !== NONCE_SOURCE)
    return rest.every((source) => MODIFIERS.has(source)) ? ["'none'"] : rest
  })
}

function mapSources(
  directives: CspDirectives,
  change: (sources: readonly string[]) => readonly string[],
): CspDirectives {
  return Object.fromEntries(
    Object.entries(directives).map(([directive, sources]) => [directive, change(sources)]),
  )
}
