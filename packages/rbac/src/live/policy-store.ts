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

/** The state of the policy store. */
export interface PolicyState {
  /** Increases with every change of the policy or of a grant. */
  readonly revision: number
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
  /** Returns the state, or `null` if its revision is still `known`. */
  load(known: number): Promise<PolicyState | null>
  /**
   * Applies one change if the revision is still `known`.
   *
   * @param now milliseconds since the Unix epoch. Grants that have expired by then are deleted.
   * @returns the new revision, or `null` if another change came first; nothing is changed then.
   */
  change(change: PolicyChange, known: number, now: number): Promise<number | null>
}

/** Every instance keeps all grants in memory, so their number is limited. */
export const MAX_GRANTS = 100_000
