/** Counts the open connections of each client. */
import { clientKey } from '@parapet/kit'

/** As large as the number of clients that are connected; an entry is deleted with its last connection. */
export class AddressCount {
  readonly #most: number
  readonly #open = new Map<string, number>()

  /** @param most connections of one IPv4 address or IPv6 /64 */
  constructor(most: number) {
    this.#most = most
  }

  /**
   * Counts a connection.
   *
   * @returns a function to call when it closes; `undefined`: it is one too many and was not counted.
   */
  add(address: string): (() => void) | undefined {
    const key = clientKey(address)
    const count = this.#open.get(key) ?? 0
    if (count >= this.#most) return undefined
    this.#open.set(key, count + 1)
    return () => {
      const left = this.#open.get(key)! - 1
      if (left === 0) this.#open.delete(key)
      else this.#open.set(key, left)
    }
  }

  /** The number of clients that are connected. */
  get size(): number {
    return this.#open.size
  }
}
