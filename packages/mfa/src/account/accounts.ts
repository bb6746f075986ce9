/** Reads accounts, and changes them by compare-and-set. */
import {
  conflict,
  replaceForeignErrors,
  resealAll,
  retryConflicts,
  withDeadline,
  type Clock,
  type Resealed,
} from '@parapet/kit'
import {
  PARAPET_MFA_ACCOUNT_UNREADABLE,
  PARAPET_MFA_BUSY,
  PARAPET_MFA_INVALID_ARGUMENT,
} from '../errors.ts'
import { createAccount, type Account } from './account.ts'
import type { AccountRepository, CredentialChange, StoredAccount } from './account-repository.ts'
import type { AccountCipher } from './account-cipher.ts'
import { openAccount, sealAccount } from './sealed-account.ts'

/** The outcome of a change function. Without `next` nothing is written. */
export interface Change<T> {
  readonly next?: Account
  readonly credentials?: CredentialChange
  readonly result: T
}

/** Reads and changes accounts. */
export interface Accounts {
  /** The account; an empty one if nothing is stored. If a former key sealed it, it is sealed again. */
  read(userId: string): Promise<Account>
  /**
   * Changes an account atomically. `change` must be pure: it runs again with the new record when
   * another writer was first. Its result is returned only after `next` has been written.
   *
   * @throws PARAPET_MFA_BUSY other writers were first 64 times, or the storage failed.
   * @throws PARAPET_MFA_ACCOUNT_UNREADABLE the stored record does not open for this user.
   */
  update<T>(userId: string, change: (account: Account) => Change<T>): Promise<T>
  findByCredential(credentialId: string): Promise<string | null>
  remove(userId: string): Promise<void>
  /** Seals all accounts by the primary key. @throws PARAPET_MFA_INVALID_ARGUMENT, PARAPET_MFA_BUSY */
  resealAll(): Promise<Resealed>
}

const MAX_USER_ID = 300

/** How long a storage may take for one call. */
const DEADLINE_MS = 5000
const busy = (): Error => new PARAPET_MFA_BUSY()

/** Combines storage and cipher. */
export function createAccounts(
  storage: AccountRepository,
  { cipher, isPrimary }: AccountCipher,
  clock: Clock,
): Accounts {
  const repository = withBusyErrors(storage, clock)
  const open = async (userId: string, stored: StoredAccount | null): Promise<Account> =>
    stored === null ? createAccount() : openAccount(cipher, userId, stored.sealed)
  const load = async (userId: string): Promise<Loaded> => {
    requireUserId(userId)
    const stored = await repository.load(userId)
    const account = await open(userId, stored)
    const isCurrent = stored === null || isPrimary(stored.sealed)
    return { account, version: stored?.version ?? 0, isCurrent }
  }
  /** @returns `false`: another writer was first, who has sealed it by the keys of its instance. */
  const reseal = async (userId: string, { account, version }: Loaded): Promise<boolean> =>
    repository.save(userId, version, await sealAccount(cipher, userId, account))
  const resealOne = (userId: string): Promise<boolean> =>
    retryConflicts<boolean>(async () => {
      const loaded = await load(userId)
      if (loaded.isCurrent === true) return false
      return (await reseal(userId, loaded)) || conflict
    }, busy)
  return {
    async read(userId) {
      const loaded = await load(userId)
      // The account is valid even if it cannot be written; the next read tries again.
      if (loaded.isCurrent === false) await reseal(userId, loaded).catch(() => false)
      return loaded.account
    },
    update: <T>(userId: string, change: (account: Account) => Change<T>): Promise<T> =>
      retryConflicts<T>(async () => {
        const { account, version } = await load(userId)
        const { next, credentials, result } = change(account)
        if (next === undefined) return result
        const sealed = await sealAccount(cipher, userId, next)
        return (await repository.save(userId, version, sealed, credentials)) ? result : conflict
      }, busy),
    findByCredential: (credentialId) => repository.findByCredential(credentialId),
    async remove(userId) {
      requireUserId(userId)
      const stored = await repository.load(userId)
      if (stored === null) return
      // An account that does not open must still be erasable.
      const passkeys = await open(userId, stored).then(
        (account) => account.passkeys,
        () => [],
      )
      await repository.remove(
        userId,
        passkeys.map(({ id }) => id),
      )
    },
    resealAll: async () =>
      resealAll({ list: requireList(storage, repository), reseal: resealOne, isUnreadable }),
  }
}

const isUnreadable = (error: unknown): boolean => error instanceof PARAPET_MFA_ACCOUNT_UNREADABLE

/** @throws PARAPET_MFA_INVALID_ARGUMENT the storage cannot list its accounts. */
function requireList(storage: AccountRepository, { list }: Required<AccountRepository>) {
  if (storage.list !== undefined) return list
  throw new PARAPET_MFA_INVALID_ARGUMENT(
    'app.mfa.resealAll needs the option "sql", or "accounts" with a method "list"',
  )
}

interface Loaded {
  readonly account: Account
  readonly version: number
  /** Whether the primary key sealed it, or there is no record; `null`: unknown. */
  readonly isCurrent: boolean | null
}

/**
 * Replaces the storage's own errors by PARAPET_MFA_BUSY, with the original as `cause` for the log. A storage
 * that does not answer is an error too: a database may hang instead of failing.
 */
function withBusyErrors(storage: AccountRepository, clock: Clock): Required<AccountRepository> {
  const orBusy = <T>(work: () => Promise<T>): Promise<T> => callStorage(work, clock)
  return {
    load: (userId) => orBusy(() => storage.load(userId)),
    save: (...change) => orBusy(() => storage.save(...change)),
    findByCredential: (credentialId) => orBusy(() => storage.findByCredential(credentialId)),
    list: (after, limit) => orBusy(async () => (await storage.list?.(after, limit)) ?? []),
    remove: (userId, credentials) => orBusy(() => storage.remove(userId, credentials)),
  }
}

function callStorage<T>(work: () => Promise<T>, clock: Clock): Promise<T> {
  return replaceForeignErrors(
    async () => withDeadline(work(), DEADLINE_MS, busy, clock),
    (cause) => Object.assign(busy(), { cause }),
  )
}

function requireUserId(userId: string): void {
  // PostgreSQL cannot store NUL in a text.
  const isText = typeof userId === 'string' && userId.isWellFormed() && !userId.includes('\0')
  if (isText && userId.length > 0 && userId.length <= MAX_USER_ID) return
  const got = typeof userId === 'string' ? JSON.stringify(userId.slice(0, 32)) : typeof userId
  throw new PARAPET_MFA_INVALID_ARGUMENT(
    `the user id must be well-formed text of 1 to ${MAX_USER_ID} characters without NUL, got ${got}`,
  )
}
