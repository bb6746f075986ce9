/** The cross-origin headers COOP, COEP and CORP. @see HTML, section 7.1; Fetch, section 3.7 */

/** The values of `Cross-Origin-Opener-Policy`. */
export const openerPolicies = Object.freeze([
  'same-origin',
  'same-origin-allow-popups',
  'noopener-allow-popups',
  'unsafe-none',
] as const)

/** A value of `Cross-Origin-Opener-Policy`. */
export type OpenerPolicy = (typeof openerPolicies)[number]

/** The values of `Cross-Origin-Embedder-Policy`. */
export const embedderPolicies = Object.freeze([
  'require-corp',
  'credentialless',
  'unsafe-none',
] as const)

/** A value of `Cross-Origin-Embedder-Policy`. */
export type EmbedderPolicy = (typeof embedderPolicies)[number]

/** The values of `Cross-Origin-Resource-Policy`. */
export const resourcePolicies = Object.freeze(['same-origin', 'same-site', 'cross-origin'] as const)

/** A value of `Cross-Origin-Resource-Policy`. */
export type ResourcePolicy = (typeof resourcePolicies)[number]
