/** A loaded secret whose value changes while the service runs. */
import { PARAPET_SECRETS_STALE } from '../errors.ts'
import type { Secret } from '../value/secret.ts'

/** A loaded secret. Ask it at each use: a value that was kept does not rotate. */
export interface RotatingSecret {
  readonly name: string
  /** The value to use. @throws PARAPET_SECRETS_STALE it could not be refreshed for longer than `maxStaleMs`. */
  readonly current: Secret
  /** The value before, while it is still accepted. */
  readonly previous: Secret | undefined
  /** What the provider calls the version; never the value. */
  readonly version: string
  /** When it expires, in milliseconds since the epoch. */
  readonly expiresAt: number | undefined
  /** Passes the current value to `reader`. @throws PARAPET_SECRETS_STALE */
  use<T>(reader: (value: string) => T): T
  /** Whether a text is the current value or one whose overlap has not ended, compared in constant time. */
  matches(text: string | null | undefined): boolean
}

/** So that a provider that changes all the time does not fill the memory. */
const MOST_VALUES = 8

/** The state behind a {@link RotatingSecret}; only its keeper changes it. */
export class SecretSlot implements RotatingSecret {
  readonly name: string
  #current: Secret
  /** The values before, the latest last. */
  #former: readonly Secret[] = []
  /** Values whose hooks run, or have failed. */
  #introduced: readonly Secret[] = []
  version: string
  expiresAt: number | undefined
  isStale = false

  constructor(name: string, current: Secret, version: string, expiresAt: number | undefined) {
    this.name = name
    this.#current = current
    this.version = version
    this.expiresAt = expiresAt
  }

  get current(): Secret {
    if (this.isStale) throw new PARAPET_SECRETS_STALE(this.name)
    return this.#current
  }

  use<T>(reader: (value: string) => T): T {
    return this.current.use(reader)
  }

  matches(text: string | null | undefined): boolean {
    // All are compared, so that the time does not tell which one it was.
    const matching = [this.current, ...this.#former].filter((value) => value.equals(text))
    return matching.length > 0
  }

  /** Also of a stale secret. */
  get last(): Secret {
    return this.#current
  }

  get previous(): Secret | undefined {
    return this.#former.at(-1)
  }

  /** All values that may work somewhere. */
  get known(): Secret[] {
    return [this.#current, ...this.#former, ...this.#introduced]
  }

  /** Remembers a value that is about to be used by hooks. */
  introduce(next: Secret): void {
    const others = this.#introduced.filter((value) => !value.equals(next))
    this.#introduced = [...others, next].slice(-MOST_VALUES)
  }

  /** Ends the overlap of a value. */
  retire(former: Secret): void {
    this.#former = this.#former.filter((value) => value !== former)
  }

  replace(next: Secret, version: string, expiresAt: number | undefined): void {
    this.#former = [...this.#former, this.#current].slice(-MOST_VALUES)
    this.#current = next
    this.#introduced = this.#introduced.filter((value) => !value.equals(next))
    this.version = version
    this.expiresAt = expiresAt
  }
}
