/** Bounds what rows that name keys nobody has may cost: a key may be new, but not each of them. */
import { BoundedMap } from './bounded-map.ts'

/** A key is looked for once in this time. */
const STRANGER_MS = 60_000
/** And so are this many of a scope; no rotation makes as many. */
const MAX_STRANGERS = 8

interface Asked {
  readonly since: number
  readonly keyIds: Set<number>
}

/** Key ids that were not known, and were looked for a moment ago. */
export class StrangerKeys {
  readonly #asked: BoundedMap<string, Asked>

  constructor(maxScopes: number) {
    this.#asked = new BoundedMap(maxScopes)
  }

  /** Whether a scope's keys may be read anew for this one. */
  mayAsk(scope: string, keyId: number, now: number): boolean {
    let asked = this.#asked.get(scope)
    if (asked === undefined || now - asked.since >= STRANGER_MS) {
      asked = { since: now, keyIds: new Set() }
      this.#asked.set(scope, asked)
    }
    if (asked.keyIds.has(keyId) || asked.keyIds.size >= MAX_STRANGERS) return false
    asked.keyIds.add(keyId)
    return true
  }
}
