/** A value that does not show itself. */
import { inspect } from 'node:util'
import { secretsEqual } from '@parapet/kit'
import { PARAPET_SECRETS_OPAQUE } from '../errors.ts'

const SHOWN = '[secret]'

/**
 * Holds one secret. Logs, JSON and `util.inspect` show `[secret]`, `structuredClone` copies only that
 * text, and so does a template string; a sum throws. The value itself is read by {@link Secret.use}.
 *
 * The text lives in the memory of the process until it is collected: JavaScript cannot wipe strings.
 */
export class Secret {
  readonly #value: string
  /** What is shown in place of the value, also in a clone. */
  readonly shown = SHOWN

  constructor(value: string) {
    this.#value = value
    Object.freeze(this)
  }

  /** Passes the value to `reader` and returns its result. Keep the value no longer than needed. */
  use<T>(reader: (value: string) => T): T {
    return reader(this.#value)
  }

  /** Whether the other text or secret is equal, compared in constant time. */
  equals(other: string | Secret | null | undefined): boolean {
    const text = other instanceof Secret ? other.#value : other
    return secretsEqual(text, this.#value)
  }

  /** Characters of the value. */
  get length(): number {
    return this.#value.length
  }

  toJSON(): string {
    return SHOWN
  }

  [inspect.custom](): string {
    return SHOWN
  }

  /**
   * `[secret]` as text: a log line with `%s`, or an error message, must not become an error itself.
   *
   * @throws PARAPET_SECRETS_OPAQUE in a sum or a calculation
   */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return SHOWN
    throw new PARAPET_SECRETS_OPAQUE()
  }

  toString(): string {
    return SHOWN
  }
}
