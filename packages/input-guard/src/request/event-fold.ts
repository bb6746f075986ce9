/** Lets one event of a kind pass in a minute and counts the others. */

const WINDOW_MS = 60_000
const MAX_KINDS = 1000

interface Kind {
  since: number
  suppressed: number
}

/** Counts events by kind. The oldest kind is dropped when there are too many. */
export class EventFold {
  readonly #now: () => number
  readonly #kinds = new Map<string, Kind>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** @returns how many were suppressed since the last one that passed; `undefined`: this one is suppressed. */
  admit(kind: string): number | undefined {
    const now = this.#now()
    const known = this.#kinds.get(kind)
    if (known !== undefined && now >= known.since && now - known.since < WINDOW_MS) {
      known.suppressed++
      return undefined
    }
    this.#kinds.delete(kind)
    if (this.#kinds.size >= MAX_KINDS) {
      const [oldest] = this.#kinds.keys()
      this.#kinds.delete(oldest!)
    }
    this.#kinds.set(kind, { since: now, suppressed: 0 })
    return known?.suppressed ?? 0
  }
}
