/** `Referrer-Policy`. @see W3C Referrer Policy, section 3 */

/** The values of `Referrer-Policy`. */
export const referrerPolicies = Object.freeze([
  'no-referrer',
  'same-origin',
  'strict-origin',
  'strict-origin-when-cross-origin',
  'origin',
  'origin-when-cross-origin',
  'no-referrer-when-downgrade',
  'unsafe-url',
] as const)

/** A value of `Referrer-Policy`. */
export type ReferrerPolicy = (typeof referrerPolicies)[number]
