/** Reasons of decisions, for events and explanations. They are never sent to a client. */

/** The reason of one decision. */
export type Reason =
  /** A role, or a permission of the principal itself, grants it. */
  | 'granted'
  /** The request has no principal. */
  | 'anonymous'
  /** No role of the principal grants it. */
  | 'no_grant'
  /** Roles grant it under conditions, and no condition is true. */
  | 'condition_failed'
  /** A deny rule applies. */
  | 'denied_by_rule'
  /** The scopes of the credential do not cover it. */
  | 'out_of_scope'
  /** The principal has roles that a separation of duty forbids together. */
  | 'separation_of_duty'
  /** The policy does not declare the permission. */
  | 'unknown_permission'
  /** The route was declared before the plugin could compile its rule. */
  | 'missed'
  /** The policy store was out of contact for longer than `maxStalenessMs`. */
  | 'stale'

/** The result of one decision. */
export interface Decision {
  readonly allowed: boolean
  readonly reason: Reason
}

/** The decision of an allowed request. */
export const GRANTED: Decision = Object.freeze({ allowed: true, reason: 'granted' })
