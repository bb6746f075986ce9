/** Attempts by address, across accounts: what one peer may try. */
import { clientKey, type Store } from '@parapet/kit'
import { PARAPET_MFA_BUSY } from './errors.ts'
import {
  countFailure,
  decideAttempt,
  FRESH,
  refundFailure,
  type AttemptVerdict,
  type ThrottleSettings,
  type ThrottleState,
} from './throttle.ts'

/** The gate before every attempt. */
export interface AddressGate {
  /** Counts an attempt before it is made, so that no burst gets ahead of the count. */
  enter(ip: string | undefined): Promise<AttemptVerdict>
  /** Says how the attempt ended. Right and wrong cost the same. */
  settle(ip: string | undefined, right: boolean): Promise<void>
}

const MAX_TRIES = 64
/** After so long without a failure an address starts anew: addresses change hands. */
const MEMORY_MS = 86_400_000

/** Makes the gate. Its state is small, and ends a day after the last wrong attempt. */
export function createAddressGate(
  store: Store,
  settings: ThrottleSettings,
  now: () => number,
): AddressGate {
  async function change<T>(
    ip: string,
    edit: (state: ThrottleState) => readonly [next: ThrottleState | null, result: T],
  ): Promise<T> {
    const key = `mfa:address:${clientKey(ip)}`
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const text = await store.get(key)
      const [next, result] = edit(text === null ? FRESH : (JSON.parse(text) as ThrottleState))
      if (next === null) return result
      if (await store.compareAndSet(key, text, JSON.stringify(next), MEMORY_MS)) return result
    }
    throw new PARAPET_MFA_BUSY()
  }

  return {
    async enter(ip) {
      if (ip === undefined) return { allowed: true }
      return change(ip, (state) => {
        const verdict = decideAttempt(state, now(), settings)
        return [verdict.allowed ? countFailure(state, now()) : null, verdict]
      })
    },
    async settle(ip, right) {
      if (ip === undefined) return
      await change(ip, (state) => [
        // Many people may share an address: whoever is right makes up for one who was wrong.
        right ? refundFailure(refundFailure(state)) : { ...state, lastFailureAt: now() },
        undefined,
      ])
    },
  }
}
