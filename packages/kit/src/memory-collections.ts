/** The two collections of the memory store; each knows its size in bytes. */
import type { TimelineEntry } from './store.ts'

/** What an item takes beside its text. */
const ITEM_BYTES = 80

/** What a member or an entry with this text takes, in bytes. */
export function itemBytes(text: string): number {
  return ITEM_BYTES + 2 * text.length
}

/** A capped list of moments, oldest first. */
export class Timeline {
  readonly entries: TimelineEntry[] = []
  bytes = 0

  /** The time the next entry gets: the clock's, but never before the last entry. */
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

/** Members that each expire by themselves. */
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
    // The common case, one duration for all, appends in order and never comes here.
    else this.#expiries = new Map([...this.#expiries].toSorted((a, b) => a[1] - b[1]))
    return added
  }

  delete(member: string): boolean {
    if (!this.#expiries.delete(member)) return false
    this.bytes -= itemBytes(member)
    return true
  }
}
