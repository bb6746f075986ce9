/** Where the policy of a fleet lives: the port, and the one that lives in the process. */

/** A role that a principal has until a moment in time. */
export interface TimedGrant {
  readonly principalId: string
  readonly role: string
  /** Milliseconds since the Unix epoch; from then on the role is gone. */
  readonly until: number
}

/** What the fleet agreed on last. */
export interface PolicyState {
  /** Grows with every change, of the policy or of a grant. */
  readonly revision: number
  /** The policy in its stored form; `null` where none was published yet. */
  readonly policy: string | null
  readonly grants: readonly TimedGrant[]
}

/** A change that {@link PolicyStore.change} makes, all of it or none. */
export type PolicyChange =
  | { readonly kind: 'publish'; readonly policy: string; readonly digest: string }
  | { readonly kind: 'grant'; readonly grant: TimedGrant }
  | { readonly kind: 'revoke'; readonly principalId: string; readonly role: string }

/** Keeps policy and grants; every instance of the fleet uses the same one. */
export interface PolicyStore {
  /** The state, or `null` when its revision is still `known`. */
  load(known: number): Promise<PolicyState | null>
  /**
   * Makes one change, if the revision is still `known`.
   *
   * @param now milliseconds since the Unix epoch: grants that ended before are dropped.
   * @returns the new revision, or `null` when someone else was faster; nothing was done then.
   */
  change(change: PolicyChange, known: number, now: number): Promise<number | null>
}

/** Every instance holds all grants in memory, so there is an end to them. */
export const MAX_GRANTS = 100_000

/** A {@link PolicyStore} in this process, for one instance and for tests. It forgets at the end. */
export function createMemoryPolicyStore(): PolicyStore {
  let state: PolicyState = { revision: 0, policy: null, grants: [] }
  return {
    load: async (known) => (known === state.revision ? null : state),
    change: async (change, known, now) => {
      if (known !== state.revision) return null
      state = { ...applyChange(state, change, now), revision: known + 1 }
      return state.revision
    },
  }
}

/** The state after a change. */
function applyChange(state: PolicyState, change: PolicyChange, now: number): PolicyState {
  const grants = state.grants.filter(({ until }) => until > now)
  if (change.kind === 'publish') return { ...state, grants, policy: change.policy }
  const { principalId, role } = change.kind === 'grant' ? change.grant : change
  const others = grants.filter((each) => each.principalId !== principalId || each.role !== role)
  return { ...state, grants: change.kind === 'grant' ? [...others, change.grant] : others }
}
