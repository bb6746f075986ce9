/** Attempts by address, across accounts: what one peer may try. */
import { clientKey, type Store } from '@parapet/kit'
import { PARAPET_MFA_BUSY } from './errors.ts'
import { waitEnd, type AttemptVerdict, type ThrottleSettings } from './throttle.ts'

/** What is counted apart: signing in with a passkey needs no login, and must not make codes wait. */
export type AttemptKind = 'code' | 'passkey'

/** The gate before every attempt. */
export interface AddressGate {
  /** Counts an attempt before it is made, so that no burst gets ahead of the count. */
  enter(kind: AttemptKind, ip: string | undefined): Promise<AttemptVerdict>
  /**
   * Says how the attempt ended. Right and wrong cost the same.
   *
   * @param made how many of the counted attempts a right one makes up for: itself, and what the same
   *   user got wrong just before; never what was tried on others. `null`: it was wrong.
   */
  settle(kind: AttemptKind, ip: string | undefined, made: number | null): Promise<void>
}

interface AddressState {
  /** Attempts that nobody has made up for; one is forgotten in each longest wait. */
  readonly failures: number
  readonly lastFailureAt: number
  /** Up to when the forgetting is done. */
  readonly forgottenAt: number
}

const MAX_TRIES = 64
/** After so long without an attempt an address starts anew: addresses change hands. */
const MEMORY_MS = 86_400_000

/** Makes the gate. Its state is small, and ends a day after the last attempt. */
export function createAddressGate(
  store: Store,
  settings: ThrottleSettings,
  now: () => number,
): AddressGate {
  const forgetMs = settings.maxWaitSeconds * 1000
  const read = (text: string | null): AddressState => {
    if (text === null) return { failures: 0, lastFailureAt: 0, forgottenAt: now() }
    const state = JSON.parse(text) as AddressState
    const forgotten = Math.max(0, now() - state.forgottenAt) / forgetMs
    return { ...state, failures: Math.max(0, state.failures - forgotten), forgottenAt: now() }
  }

  async function change<T>(
    kind: AttemptKind,
    ip: string,
    edit: (state: AddressState) => readonly [next: AddressState | null, result: T],
  ): Promise<T> {
    const key = `mfa:address:${kind}:${clientKey(ip)}`
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const text = await store.get(key)
      const [next, result] = edit(read(text))
      if (next === null) return result
      if (await store.compareAndSet(key, text, JSON.stringify(next), MEMORY_MS)) return result
    }
    throw new PARAPET_MFA_BUSY()
  }

  return {
    async enter(kind, ip) {
      if (ip === undefined) return { allowed: true }
      return change<AttemptVerdict>(kind, ip, (state) => {
        const until = waitEnd(state, Math.ceil(state.failures), now(), settings)
        const retryAfterMs = until - now()
        if (retryAfterMs > 0) return [null, { allowed: false, reason: 'throttled', retryAfterMs }]
        const counted = { ...state, failures: state.failures + 1, lastFailureAt: now() }
        return [counted, { allowed: true }]
      })
    },
    async settle(kind, ip, made) {
      if (ip === undefined) return
      await change(kind, ip, (state) => [
        made === null
          ? { ...state, lastFailureAt: now() }
          : { ...state, failures: Math.max(0, state.failures - made) },
        undefined,
      ])
    },
  }
}
