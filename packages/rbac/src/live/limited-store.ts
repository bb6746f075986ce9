/** Calls the policy store, each call with a deadline: a store that never answers must not block the rest. */
import { withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_RBAC_OUTCOME_UNKNOWN, PARAPET_RBAC_STALE } from '../errors.ts'
import type { PolicyChange, PolicyMark, PolicyState, PolicyStore } from './policy-store.ts'

/** See {@link LimitedStore}. */
export interface LimitedStoreSettings {
  readonly policyStore: PolicyStore
  readonly clock: Clock
  /** The deadline; `Infinity`: the policy store is in this process and needs none. */
  readonly maxStalenessMs: number
}

/** A policy store with deadlines. */
export class LimitedStore {
  readonly #settings: LimitedStoreSettings

  constructor(settings: LimitedStoreSettings) {
    this.#settings = settings
  }

  /** See {@link PolicyStore.load}. @throws PARAPET_RBAC_STALE */
  load(known: PolicyMark | null): Promise<PolicyState | null> {
    return this.#limit(this.#settings.policyStore.load(known), () => new PARAPET_RBAC_STALE())
  }

  /**
   * See {@link PolicyStore.change}.
   *
   * @param onLate receives the answer of a store that answers after the deadline.
   * @throws PARAPET_RBAC_OUTCOME_UNKNOWN
   */
  async change(
    change: PolicyChange,
    known: PolicyMark,
    onLate: (answer: Promise<PolicyMark | null>) => void,
  ): Promise<PolicyMark | null> {
    const { policyStore, clock, maxStalenessMs } = this.#settings
    const answer = policyStore.change(change, known, clock.now())
    return this.#limit(answer, () => {
      onLate(answer)
      return new PARAPET_RBAC_OUTCOME_UNKNOWN(maxStalenessMs)
    })
  }

  #limit<T>(answer: Promise<T>, late: () => Error): Promise<T> {
    const { clock, maxStalenessMs } = this.#settings
    return maxStalenessMs === Infinity ? answer : withDeadline(answer, maxStalenessMs, late, clock)
  }
}
