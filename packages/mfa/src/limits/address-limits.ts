/** Limits on attempts per client address, across accounts. */
import { clientKey, updateText, type Store, type TextEdit } from '@parapet/kit'
import { PARAPET_MFA_BUSY } from '../errors.ts'
import { waitEnd, type AttemptLimits, type AttemptVerdict } from './wrong-codes.ts'

/**
 * What is counted separately at one address: `code`, and `passkey:` with the hash of one credential
 * id. The passkey login needs no authentication, so requests to it must make no other user wait.
 */
export type AttemptKind = 'code' | `passkey:${string}`

/** Limits attempts per address. */
export interface AddressLimits {
  /** Counts an attempt before it is made, so that concurrent attempts cannot exceed the limit. */
  begin(kind: AttemptKind, ip: string | undefined): Promise<AttemptVerdict>
  /**
   * Records the result of an attempt. Right and wrong cost the same number of store operations.
   *
   * @param forgiven how many counted attempts a success removes: itself, and the wrong attempts that
   *   the same user made just before, never attempts at other accounts. `null`: it was wrong.
   */
  finish(kind: AttemptKind, ip: string | undefined, forgiven: number | null): Promise<void>
}

interface AddressState {
  /** Attempts that no success has removed. One is forgotten per `maxWaitSeconds`. */
  readonly failures: number
  readonly lastFailureAt: number
  /** The time up to which forgetting has been applied. */
  readonly forgottenAt: number
}

/** State expires a day after the last attempt, because addresses are reassigned. */
const TTL_MS = 86_400_000

/** Creates the limits. */
export function createAddressLimits(
  store: Store,
  limits: AttemptLimits,
  now: () => number,
): AddressLimits {
  const change = <T>(
    kind: AttemptKind,
    ip: string,
    edit: (state: AddressState) => TextEdit<T>,
  ): Promise<T> =>
    updateText<T>(
      store,
      `mfa:address:${kind}:${clientKey(ip)}`,
      (text) => edit(parseState(text, now(), limits)),
      () => new PARAPET_MFA_BUSY(),
    )

  return {
    begin: async (kind, ip) =>
      ip === undefined
        ? { allowed: true }
        : change(kind, ip, (state) => countAttempt(state, now(), limits)),
    async finish(kind, ip, forgiven) {
      if (ip === undefined) return
      await change(kind, ip, (state) => {
        const next =
          forgiven === null
            ? { ...state, lastFailureAt: now() }
            : { ...state, failures: Math.max(0, state.failures - forgiven) }
        return { next: JSON.stringify(next), ttlMs: TTL_MS, result: undefined }
      })
    },
  }
}

/** Reads the state, and forgets one attempt per longest wait since it was written. */
function parseState(text: string | null, now: number, limits: AttemptLimits): AddressState {
  if (text === null) return { failures: 0, lastFailureAt: 0, forgottenAt: now }
  const state = JSON.parse(text) as AddressState
  const forgotten = Math.max(0, now - state.forgottenAt) / (limits.maxWaitSeconds * 1000)
  return { ...state, failures: Math.max(0, state.failures - forgotten), forgottenAt: now }
}

function countAttempt(
  state: AddressState,
  now: number,
  limits: AttemptLimits,
): TextEdit<AttemptVerdict> {
  const retryAfterMs = waitEnd(state, Math.ceil(state.failures), now, limits) - now
  if (retryAfterMs > 0) return { result: { allowed: false, reason: 'throttled', retryAfterMs } }
  const counted = { ...state, failures: state.failures + 1, lastFailureAt: now }
  return { next: JSON.stringify(counted), ttlMs: TTL_MS, result: { allowed: true } }
}
