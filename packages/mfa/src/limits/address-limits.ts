/** Limits on attempts per client address, across accounts. */
import { clientKey, updateText, type Store, type TextEdit } from '@parapet/kit'
import { PARAPET_MFA_BUSY } from '../errors.ts'
import { hashText } from '../tokens/hash-text.ts'
import { waitEnd, type AttemptLimits, type AttemptVerdict } from './wrong-codes.ts'

/**
 * What is counted separately at one address: `code`, and `passkey:` with the hash of one credential
 * id. The passkey login needs no authentication, so requests to it must make no other user wait.
 */
export type AttemptKind = 'code' | `passkey:${string}`

/** Limits attempts per address. */
export interface AddressLimits {
  /**
   * Counts an attempt before it is made, so that concurrent attempts cannot exceed the limit.
   *
   * @param account codes count once for each account, which limits its own attempts: a user with one account
   *   must not make all others of the address wait. `null`: each attempt counts.
   */
  begin(kind: AttemptKind, ip: string | undefined, account: string | null): Promise<AttemptVerdict>
  /**
   * Records the result of an attempt. A success removes the account, never others; without an account it
   * removes everything of the kind. Right and wrong cost the same number of store operations.
   */
  finish(
    kind: AttemptKind,
    ip: string | undefined,
    account: string | null,
    succeeded: boolean,
  ): Promise<void>
}

interface AddressState {
  /** What no success has removed. One is forgotten per `maxWaitSeconds`. */
  readonly failures: number
  readonly lastFailureAt: number
  /** The time up to which forgetting has been applied. */
  readonly forgottenAt: number
  /** Hashes of the accounts that are counted, oldest first. Absent in states of older versions. */
  readonly accounts?: readonly string[]
}

/** State expires a day after the last attempt, because addresses are reassigned. */
const TTL_MS = 86_400_000
/** Characters of an account's hash. Two accounts of an address with one hash count once. */
const HASH_CHARACTERS = 8

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
    begin: async (kind, ip, account) =>
      ip === undefined
        ? { allowed: true }
        : change(kind, ip, (state) => countAttempt(state, labelOf(account), now(), limits)),
    async finish(kind, ip, account, succeeded) {
      if (ip === undefined) return
      await change(kind, ip, (state) => {
        const next = succeeded ? forgive(state, labelOf(account)) : state
        return { next: JSON.stringify(next), ttlMs: TTL_MS, result: undefined }
      })
    },
  }
}

function labelOf(account: string | null): string | null {
  return account === null ? null : hashText(account).slice(0, HASH_CHARACTERS)
}

/** Reads the state, and forgets one attempt per longest wait since it was written. */
function parseState(text: string | null, now: number, limits: AttemptLimits): AddressState {
  if (text === null) return { failures: 0, lastFailureAt: 0, forgottenAt: now }
  const state = JSON.parse(text) as AddressState
  const forgotten = Math.max(0, now - state.forgottenAt) / (limits.maxWaitSeconds * 1000)
  const failures = Math.max(0, state.failures - forgotten)
  const kept = Math.ceil(failures)
  const accounts = kept === 0 ? [] : (state.accounts ?? []).slice(-kept)
  return { ...state, failures, accounts, forgottenAt: now }
}

function countAttempt(
  state: AddressState,
  label: string | null,
  now: number,
  limits: AttemptLimits,
): TextEdit<AttemptVerdict> {
  const retryAfterMs = waitEnd(state, Math.ceil(state.failures), now, limits) - now
  if (retryAfterMs > 0) return { result: { allowed: false, reason: 'throttled', retryAfterMs } }
  const { accounts = [] } = state
  const isCounted = label !== null && accounts.includes(label)
  const next = isCounted
    ? state
    : {
        ...state,
        failures: state.failures + 1,
        lastFailureAt: now,
        accounts: label === null ? accounts : [...accounts, label],
      }
  return { next: JSON.stringify(next), ttlMs: TTL_MS, result: { allowed: true } }
}

function forgive(state: AddressState, label: string | null): AddressState {
  const { accounts = [] } = state
  if (label === null) return { ...state, failures: 0 }
  if (!accounts.includes(label)) return state
  const failures = Math.max(0, state.failures - 1)
  return { ...state, failures, accounts: accounts.filter((each) => each !== label) }
}
