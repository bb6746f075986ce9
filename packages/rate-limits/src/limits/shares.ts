/** What an instance may admit alone: the limits of the fleet, divided by its live instances. */
import type { Policy, Slot } from './policy.ts'
import type { ShareOf } from './store.ts'

export class Shares {
  readonly #shareOf: ShareOf
  readonly #least: number
  readonly #lifeUs: number
  /** Shares by policies of the fleet. */
  readonly #shares = new Map<Policy, Policy>()
  /** Policies of the fleet by shares, also by those of an earlier number of instances. */
  readonly #policies = new WeakMap<Policy, Policy>()
  /** Since when fewer instances are alive than are counted. */
  #fewerSince: number | undefined
  instances: number

  /**
   * @param least instances that are counted in any case.
   * @param lifeUs after this time an instance that is silent is gone.
   */
  constructor(shareOf: ShareOf, least: number, lifeUs: number) {
    this.#shareOf = shareOf
    this.#least = least
    this.#lifeUs = lifeUs
    this.instances = least
  }

  /** The same slots under the policies of this instance alone. */
  of(slots: readonly Slot[]): readonly Slot[] {
    return slots.map((slot) => ({ ...slot, policy: this.#policyOf(slot.policy) }))
  }

  #policyOf(policy: Policy): Policy {
    let share = this.#shares.get(policy)
    if (share === undefined) {
      share = this.#shareOf(policy, this.instances)
      this.#shares.set(policy, share)
      this.#policies.set(share, policy)
    }
    return share
  }

  /** The policy of the fleet that a share belongs to. */
  fleetPolicyOf(share: Policy): Policy | undefined {
    return this.#policies.get(share)
  }

  /** What was counted before does not tell who is alive now. */
  forgetAlive(): void {
    this.#fewerSince = undefined
  }

  /** Notes how many are alive. A Redis that was restarted empty knows too few until all have reported. */
  count(alive: number, now: number): void {
    const instances = Math.max(alive, this.#least)
    if (instances >= this.instances) this.#fewerSince = undefined
    else this.#fewerSince ??= now
    const isEarly = this.#fewerSince !== undefined && now - this.#fewerSince < this.#lifeUs
    if (isEarly || instances === this.instances) return
    this.#fewerSince = undefined
    this.instances = instances
    this.#shares.clear()
  }
}
