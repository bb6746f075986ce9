/** Logins that succeed in the middle of an attack: the moment in which guessing becomes a takeover. */
import type { Desk } from '../incidents/desk.ts'
import type { Detection } from '../rules/rule.ts'
import type { Signal } from '../rules/signal.ts'

/** Remembers which address has failed on which account. */
export interface FailureMemory {
  note(signal: Signal): void
  has(signal: Signal): boolean
}

const KEEP_MS = 1_800_000
const MAX_PAIRS = 50_000

const keyOf = ({ account = '', address }: Signal): string => `${account} ${address}`

/** Creates the memory; beyond 50 000 pairs the oldest is forgotten. */
export function createFailureMemory(): FailureMemory {
  const failedAt = new Map<string, number>()
  return {
    note(signal) {
      const key = keyOf(signal)
      failedAt.delete(key)
      if (failedAt.size >= MAX_PAIRS) failedAt.delete(failedAt.keys().next().value!)
      failedAt.set(key, signal.atMs)
    },
    has: (signal) => (failedAt.get(keyOf(signal)) ?? -Infinity) > signal.atMs - KEEP_MS,
  }
}

/**
 * Whether a successful login is likely the attacker's: its address was attacking, or its account is under
 * attack and the same address had failed on it. An owner who logs in meanwhile from elsewhere is not meant.
 */
export function isTakeover(desk: Desk, failures: FailureMemory, signal: Signal): boolean {
  const attack = desk.loginAttack(signal.account, signal.address)
  return attack === 'address' || (attack === 'account' && failures.has(signal))
}

/** The detection of a takeover. */
export function takeoverOf({ account, address, principalId, route }: Signal): Detection {
  return {
    rule: 'takeover',
    label: 'account_takeover',
    severity: 'critical',
    group: principalId ?? account ?? address,
    subject: {
      address,
      ...(principalId === undefined ? undefined : { principalId }),
      ...(account === undefined ? undefined : { account }),
    },
    evidence: {},
    reasons: [
      'A login succeeded after failures, while the account or its address was under attack.',
    ],
    ...(route === undefined ? undefined : { route }),
  }
}
