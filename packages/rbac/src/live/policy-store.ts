/** The port of the policy store, which all instances of a fleet share. */

/** A role that a principal has for a limited time. */
export interface TimedGrant {
  readonly principalId: string
  readonly role: string
  /** When the grant starts, in milliseconds since the Unix epoch. @default at once */
  readonly from?: number
  /** When the grant expires, in milliseconds since the Unix epoch. */
  readonly until: number
}

/**
 * Identifies a state of the policy store. After a failover or a restore, two states can have the same
 * revision, so the revision alone identifies nothing.
 */
export interface PolicyMark {
  /** Increases with every change of the policy or of a grant. */
  readonly revision: number
  /** Random text that the store writes with every change. */
  readonly changeId: string
}

/** The state of the policy store. */
export interface PolicyState extends PolicyMark {
  /** The policy in its stored form; `null` if none has been published yet. */
  readonly policy: string | null
  readonly grants: readonly TimedGrant[]
}

/** A change that {@link PolicyStore.change} applies atomically. */
export type PolicyChange =
  | { readonly kind: 'publish'; readonly policy: string; readonly digest: string }
  | { readonly kind: 'grant'; readonly grant: TimedGrant }
  | { readonly kind: 'revoke'; readonly principalId: string; readonly role: string }

/** Stores the policy and the grants of a fleet. */
export interface PolicyStore {
  /** Returns the state, or `null` if it is still `known`. @param known `null`: none */
  load(known: PolicyMark | null): Promise<PolicyState | null>
  /**
   * Applies one change if the state is still `known`.
   *
   * @param now milliseconds since the Unix epoch. Grants that have expired by then are deleted.
   * @returns the new state, or `null` if another change came first; nothing is changed then.
   */
  change(change: PolicyChange, known: PolicyMark, now: number): Promise<PolicyMark | null>
}

/** Whether two marks identify the same state. */
export function isSameState(one: PolicyMark, other: PolicyMark | null): boolean {
  return one.revision === other?.revision && one.changeId === other.changeId
}

/** Every instance keeps all grants in memory, so their number is limited. */
export const MAX_GRANTS = 100_000
