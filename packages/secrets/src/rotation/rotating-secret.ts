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
  /** Whether a text is the current or the previous value, compared in constant time. */
  matches(text: string | null | undefined): boolean
}

/** The state behind a {@link RotatingSecret}; only its keeper changes it. */
export class SecretSlot implements RotatingSecret {
  readonly name: string
  #current: Secret
  previous: Secret | undefined
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
    // Both are compared, so that the time does not tell which one it was.
    const isCurrent = this.current.equals(text)
    const isPrevious = this.previous?.equals(text) ?? false
    return isCurrent || isPrevious
  }

  /** Also of a stale secret. */
  get last(): Secret {
    return this.#current
  }

  replace(next: Secret, version: string, expiresAt: number | undefined): void {
    this.previous = this.#current
    this.#current = next
    this.version = version
    this.expiresAt = expiresAt
  }
}
