/** What an operator, or a change of the address, has set on an account. One sealed record a user. */
import { conflict, resealAll, retryConflicts, type Resealed } from '@parapet/kit'
import {
  PARAPET_SESSIONS_ACCOUNT_UNREADABLE,
  PARAPET_SESSIONS_INVALID_ARGUMENT,
  PARAPET_SESSIONS_UNAVAILABLE,
} from '../errors.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'

/** Why an account is locked. Times are milliseconds since the Unix epoch. */
interface AccountLock {
  /** `null`: until it is unlocked. */
  readonly until: number | null
  readonly reason: string
  readonly at: number
  /** Who locked it, as the caller said; `null`: the service. */
  readonly by: string | null
}

/** A way back to what an account was before a change. */
export interface WayBack {
  /** The address that the account had. */
  readonly email: string
  /** Of the secret in the link; `null`: no link was sent yet. */
  readonly hash: string | null
  /** Different for each way back of an account. */
  readonly expiresAt: number
  /** The account had no second factor, so its use removes those of now. */
  readonly removesFactors?: true
}

/** The state of one account. */
export interface AccountState {
  /** `null`: it is not locked. A lock whose time is over may still be here. */
  readonly lock: AccountLock | null
  /** Since when the password must be replaced; `null`: it need not. */
  readonly resetRequiredSince: number | null
  /** Since when every login needs a second factor; `null`: it need not. */
  readonly secondFactorSince: number | null
  /** The oldest first. */
  readonly waysBack: readonly WayBack[]
}

/** Stores the text of a state. Methods reject with the storage's error. */
export interface AccountStateRepository {
  load(userId: string): Promise<string | null>
  /** Replaces `expected` (`null`: none) by `next` (`null`: delete). @returns whether it did. */
  save(userId: string, expected: string | null, next: string | null): Promise<boolean>
  /** The ids of users with a state, in order, after `after`. `undefined`: the storage cannot list them. */
  list?(after: string | null, limit: number): Promise<readonly string[]>
}

/** See {@link createAccountStates}. */
export interface AccountStates {
  /**
   * Reads the state, and seals it by the newest secret, so that an account that is used outlives the older ones.
   *
   * @throws PARAPET_SESSIONS_ACCOUNT_UNREADABLE none of the secrets gives its seal.
   */
  read(userId: string): Promise<AccountState>
  /**
   * Changes the state by compare-and-set. @param change returns `null` to change nothing. @returns the state.
   *
   * @throws PARAPET_SESSIONS_ACCOUNT_UNREADABLE
   */
  update(
    userId: string,
    change: (state: AccountState) => AccountState | null,
  ): Promise<AccountState>
  /** As `update`, also where the record cannot be read: for a change that opens nothing. */
  replace(userId: string, change: (state: AccountState) => AccountState): Promise<AccountState>
  /** Seals every record by the newest secret; then an older one can be removed. @throws PARAPET_SESSIONS_INVALID_ARGUMENT */
  resealAll(): Promise<Resealed>
  /** Deletes the state of a user who does not exist any more, also one that another writer has forged. */
  forget(userId: string): Promise<void>
}

/** The state of nearly every account, for which nothing is stored. */
const FREE: AccountState = Object.freeze({
  lock: null,
  resetRequiredSince: null,
  secondFactorSince: null,
  waysBack: Object.freeze([]),
})

/** Whether a lock holds now. */
export function isLockedAt({ lock }: AccountState, now: number): boolean {
  return lock !== null && (lock.until === null || lock.until > now)
}

const isUnreadable = (error: unknown): boolean =>
  error instanceof PARAPET_SESSIONS_ACCOUNT_UNREADABLE
const late = (): Error => new PARAPET_SESSIONS_UNAVAILABLE()

/** Creates the states over a storage. */
export function createAccountStates(
  repository: AccountStateRepository,
  seal: RecordSeal,
  now: () => number,
): AccountStates {
  function parse(userId: string, text: string | null): AccountState {
    if (text === null) return FREE
    const json = seal.open('account', userId, text)
    // Treating a forged record as no record would unlock the account.
    if (json === null) throw new PARAPET_SESSIONS_ACCOUNT_UNREADABLE()
    return JSON.parse(json) as AccountState
  }
  function parseOrFree(userId: string, text: string | null): AccountState {
    try {
      return parse(userId, text)
    } catch (error) {
      if (isUnreadable(error)) return FREE
      throw error
    }
  }
  /** Reads a record and seals it by the newest secret. `resealed: false`: it was, or another writer was first. */
  async function load(userId: string): Promise<{ state: AccountState; resealed: boolean }> {
    const stored = await repository.load(userId)
    const state = parse(userId, stored)
    if (stored === null) return { state, resealed: false }
    const text = seal.seal('account', userId, JSON.stringify(state))
    const resealed = text !== stored && (await repository.save(userId, stored, text))
    return { state, resealed }
  }
  const reseal = async (userId: string): Promise<boolean> => (await load(userId)).resealed
  const update = (
    read: typeof parse,
    userId: string,
    change: (state: AccountState) => AccountState | null,
  ): Promise<AccountState> =>
    retryConflicts<AccountState>(async () => {
      const stored = await repository.load(userId)
      const state = read(userId, stored)
      const next = change(state)
      if (next === null) return state
      const kept = keptOf(next, now())
      const text = kept === null ? null : seal.seal('account', userId, JSON.stringify(kept))
      if (text === null && stored === null) return next
      return (await repository.save(userId, stored, text)) ? next : conflict
    }, late)

  return {
    read: async (userId) => (await load(userId)).state,
    update: (...given) => update(parse, ...given),
    replace: (...given) => update(parseOrFree, ...given),
    resealAll: async () => resealAll({ list: listOf(repository), reseal, isUnreadable }),
    forget: (userId) =>
      retryConflicts<void>(async () => {
        const stored = await repository.load(userId)
        if (stored !== null && !(await repository.save(userId, stored, null))) return conflict
        return undefined
      }, late),
  }
}

/** @throws PARAPET_SESSIONS_INVALID_ARGUMENT the storage cannot list its records. */
function listOf(repository: AccountStateRepository) {
  if (repository.list !== undefined) return repository.list.bind(repository)
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT('sql', 'the option to be set', 'nothing')
}

/** Without what is over; `null`: nothing is left to be stored. */
function keptOf(state: AccountState, now: number): AccountState | null {
  const waysBack = state.waysBack.filter(({ expiresAt }) => expiresAt > now)
  const kept = { ...state, lock: isLockedAt(state, now) ? state.lock : null, waysBack }
  const isFree = kept.lock === null && kept.resetRequiredSince === null
  return isFree && kept.secondFactorSince === null && waysBack.length === 0 ? null : kept
}
