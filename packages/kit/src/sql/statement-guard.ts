/** Guards of the statements of one transaction or session. */
import { PARAPET_KIT_TRANSACTION_ENDED } from '../errors.ts'

/** The connection serves other requests afterwards, with their settings and rights. */
export interface Life {
  /** @throws PARAPET_KIT_TRANSACTION_ENDED */
  readonly require: () => void
  readonly end: () => void
}

/** Makes a guard that is alive. */
export function createLife(name: 'session' | 'transaction'): Life {
  let hasEnded = false
  return {
    require() {
      if (hasEnded) throw new PARAPET_KIT_TRANSACTION_ENDED(name)
    },
    end: () => void (hasEnded = true),
  }
}

/** Drivers want an array of their own. */
export function copyOf(values: readonly unknown[] | undefined): unknown[] | undefined {
  return values === undefined ? undefined : [...values]
}
