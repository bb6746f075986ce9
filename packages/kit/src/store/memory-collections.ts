/** Timelines and sets of the memory store; both track their size in bytes. */
import type { TimelineEntry } from './store.ts'

/** The estimated overhead of an item, in bytes. */
const ITEM_BYTES = 80

/** The size of a member or an entry with this text, in bytes. */
export function itemBytes(text: string): number {
  return ITEM_BYTES + 2 * text.length
}

/** A capped list of entries, oldest first. */
export class Timeline {
  readonly entries: TimelineEntry[] = []
  bytes = 0

  /** The time of the next entry: the clock's, but never before the last entry's. */
  timeAt(now: number): number {
    return Math.max(now, this.entries.at(-1)?.time ?? 0)
  }

  append(entry: TimelineEntry, windowMs: number, maxEntries: number): void {
    this.entries.push(entry)
    this.bytes += itemBytes(entry.value)
    const firstLive = this.entries.findIndex(({ time }) => time > entry.time - windowMs)
    const surplus = Math.max(firstLive, this.entries.length - maxEntries)
    for (const dropped of this.entries.splice(0, surplus)) this.bytes -= itemBytes(dropped.value)
  }
}

/** A set whose members expire one by one. */
export class MemberSet {
  /** Member → when it expires, soonest first. */
  #expiries = new Map<string, number>()
  #lastExpiry = 0
  bytes = 0

  get size(): number {
    return this.#expiries.size
  }

  /** When the last member expires. */
  get lastExpiry(): number {
    return this.#lastExpiry
  }

  expiryOf(member: string): number {
    return this.#expiries.get(member) ?? 0
  }

  names(): string[] {
    return [...this.#expiries.keys()]
  }

  purge(now: number): void {
    for (const [member, expiresAt] of this.#expiries) {
      if (expiresAt > now) break
      this.delete(member)
    }
  }

  /** @returns whether it is new. */
  add(member: string, expiresAt: number, maxMembers: number): boolean {
    const added = !this.delete(member)
    while (this.size >= maxMembers) this.delete(this.#expiries.keys().next().value!)
    this.bytes += itemBytes(member)
    this.#expiries.set(member, expiresAt)
    if (expiresAt >= this.#lastExpiry) this.#lastExpiry = expiresAt
    // Rare: with one lifetime for all members the order is kept by insertion.
    else this.#expiries = new Map([...this.#expiries].toSorted((a, b) => a[1] - b[1]))
    return added
  }

  delete(member: string): boolean {
    if (!this.#expiries.delete(member)) return false
    this.bytes -= itemBytes(member)
    return true
  }
}
