/** What was decided, by tier: counters for metrics, and who a dry run would have refused. */

/** Counters of a tier since the start. */
export interface TierCounts {
  /** Requests that the tier admitted. */
  readonly allowed: number
  /** Requests that it refused, those of blocked keys included. */
  readonly refused: number
  /** Refusals of blocked keys. */
  readonly blocked: number
  /** Decisions of this instance alone, while Redis was down. */
  readonly degraded: number
  /** Requests that a dry run would have refused. */
  readonly wouldRefuse: number
}

/** A key that a dry run would have refused. */
export interface WouldBeRefusal {
  readonly tier: string
  /** The identity, as `ip=192.0.2.7`; accounts and API keys are digests. */
  readonly identity: string
  readonly refusals: number
  /** Milliseconds since the Unix epoch. */
  readonly lastAt: number
}

/** Keys of dry runs that are kept; the one that was refused least recently is dropped. */
const MAX_REPORTED = 1000

export class Tally {
  readonly #counts = new Map<string, { -readonly [K in keyof TierCounts]: number }>()
  readonly #reported = new Map<string, WouldBeRefusal>()

  constructor(tiers: Iterable<string>) {
    for (const tier of tiers) {
      this.#counts.set(tier, { allowed: 0, refused: 0, blocked: 0, degraded: 0, wouldRefuse: 0 })
    }
  }

  count(tier: string, what: keyof TierCounts): void {
    this.#counts.get(tier)![what]++
  }

  /** Notes what a dry run would have refused. @param id the key of the slot. */
  report(tier: string, id: string, now: number): void {
    this.count(tier, 'wouldRefuse')
    const refusals = (this.#reported.get(id)?.refusals ?? 0) + 1
    this.#reported.delete(id)
    const [oldest] = this.#reported.keys()
    if (this.#reported.size >= MAX_REPORTED && oldest !== undefined) this.#reported.delete(oldest)
    const identity = id.slice(id.indexOf(' ') + 1)
    this.#reported.set(id, Object.freeze({ tier, identity, refusals, lastAt: now }))
  }

  counts(): Readonly<Record<string, TierCounts>> {
    return Object.fromEntries([...this.#counts].map(([tier, counts]) => [tier, { ...counts }]))
  }

  /** The keys of dry runs, most refusals first. */
  wouldBeRefusals(): readonly WouldBeRefusal[] {
    return [...this.#reported.values()].toSorted((a, b) => b.refusals - a.refusals)
  }
}
