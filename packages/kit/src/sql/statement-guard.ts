/** Guards of the statements of one transaction or session. */
import { PARAPET_KIT_INVALID_ARGUMENT, PARAPET_KIT_TRANSACTION_ENDED } from '../errors.ts'
import { findLasting } from './statements.ts'

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

/**
 * Refuses what the next user of the connection would inherit, or what would end the port's transaction.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT
 */
export function requireOwnScope(text: string): void {
  const lasting = findLasting(text)
  if (lasting === undefined) return
  throw new PARAPET_KIT_INVALID_ARGUMENT(
    `"${lasting.slice(0, 100)}"`,
    'outlives its transaction on a shared connection; use transaction(), SET LOCAL or session()',
  )
}

/** Drivers want an array of their own. */
export function copyOf(values: readonly unknown[] | undefined): unknown[] | undefined {
  return values === undefined ? undefined : [...values]
}
