/** Why a decision fell as it did: words for events and explanations, never for a client. */

/** The reason of one decision. */
export type Reason =
  /** A role, or a permission of the principal's own, grants it. */
  | 'granted'
  /** Nobody is signed in. */
  | 'anonymous'
  /** No role of the principal grants it. */
  | 'no_grant'
  /** Roles grant it under conditions, and none of them holds. */
  | 'condition_failed'
  /** A deny rule matches. */
  | 'denied_by_rule'
  /** The principal holds roles that the policy keeps apart. */
  | 'separation_of_duty'
  /** The policy declares no such permission. */
  | 'unknown_permission'
  /** The route was declared before the plugin could compile its rule. */
  | 'missed'
  /** No contact with the policy store for too long. */
  | 'stale'
