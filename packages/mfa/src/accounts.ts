/** Accounts in storage: the port, and the one way to change an account. */
import type { Cipher } from '@parapet/kit'
import { createAccount, openAccount, sealAccount, type Account } from './account.ts'
import { PARAPET_MFA_BUSY, PARAPET_MFA_INVALID_ARGUMENT } from './errors.ts'

/** A sealed account with the version that {@link AccountRepository.save} compares. */
export interface StoredAccount {
  readonly version: number
  readonly sealed: string
}

/** Credential ids that a change adds or takes away. */
export interface CredentialChange {
  readonly add?: string
  readonly remove?: readonly string[]
}

/**
 * The port for what outlives a restart: one sealed account a user, and who owns which passkey.
 * {@link createStoreAccounts} and {@link createSqlAccounts} keep one contract.
 */
export interface AccountRepository {
  load(userId: string): Promise<StoredAccount | null>
  /**
   * Writes version `expected + 1` where version `expected` stands (0: nothing).
   *
   * @returns whether it did: of any number of racers from one version, one wins.
   */
  save(
    userId: string,
    expected: number,
    sealed: string,
    credentials?: CredentialChange,
  ): Promise<boolean>
  /** The user who owns a passkey; `null` where nobody does. */
  findByCredential(credentialId: string): Promise<string | null>
  /** Forgets a user. @param credentials the ids of the passkeys to forget with them. */
  remove(userId: string, credentials: readonly string[]): Promise<void>
}

/** What a change makes of an account. Without `next` nothing is written. */
export interface Change<T> {
  readonly next?: Account
  readonly credentials?: CredentialChange
  readonly result: T
}

/** Reads and changes accounts. */
export interface Accounts {
  /** The account; an empty one where nothing is stored. */
  read(userId: string): Promise<Account>
  /**
   * Changes an account in one atomic step. `change` decides on what is stored at that moment, may run
   * several times, and counts only once: what it returns is believed when it has been written.
   *
   * @throws PARAPET_MFA_BUSY other writers were faster every time, or storage does not answer.
   * @throws PARAPET_MFA_ACCOUNT_UNREADABLE what is stored does not open for this user.
   */
  update<T>(userId: string, change: (account: Account) => Change<T>): Promise<T>
  findByCredential(credentialId: string): Promise<string | null>
  remove(userId: string): Promise<void>
}

const MAX_TRIES = 64
const MAX_USER_ID = 300

/** Joins storage and cipher. */
export function createAccounts(storage: AccountRepository, cipher: Cipher): Accounts {
  const repository = answering(storage)
  const open = async (userId: string, stored: StoredAccount | null): Promise<Account> =>
    stored === null ? createAccount() : openAccount(cipher, userId, stored.sealed)
  const load = async (userId: string): Promise<{ account: Account; version: number }> => {
    requireUserId(userId)
    const stored = await repository.load(userId)
    return { account: await open(userId, stored), version: stored?.version ?? 0 }
  }
  return {
    read: async (userId) => (await load(userId)).account,
    async update(userId, change) {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const { account, version } = await load(userId)
        const { next, credentials, result } = change(account)
        if (next === undefined) return result
        const sealed = await sealAccount(cipher, userId, next)
        if (await repository.save(userId, version, sealed, credentials)) return result
      }
      throw new PARAPET_MFA_BUSY()
    },
    findByCredential: (credentialId) => repository.findByCredential(credentialId),
    async remove(userId) {
      requireUserId(userId)
      const stored = await repository.load(userId)
      if (stored === null) return
      // An account that no longer opens must still be erasable.
      const passkeys = await open(userId, stored).then(
        (account) => account.passkeys,
        () => [],
      )
      await repository.remove(
        userId,
        passkeys.map(({ id }) => id),
      )
    },
  }
}

/** The same storage; what it throws of its own is for the log, and to the caller it is busy. */
function answering(storage: AccountRepository): AccountRepository {
  return {
    load: (userId) => reach(() => storage.load(userId)),
    save: (...change) => reach(() => storage.save(...change)),
    findByCredential: (credentialId) => reach(() => storage.findByCredential(credentialId)),
    remove: (userId, credentials) => reach(() => storage.remove(userId, credentials)),
  }
}

async function reach<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code } = error as { readonly code?: unknown }
    if (typeof code === 'string' && code.startsWith('PARAPET_')) throw error
    throw Object.assign(new PARAPET_MFA_BUSY(), { cause: error })
  }
}

function requireUserId(userId: string): void {
  // PostgreSQL keeps no NUL in a text.
  const valid = typeof userId === 'string' && userId.isWellFormed() && !userId.includes('\0')
  if (!valid || userId.length === 0 || userId.length > MAX_USER_ID) {
    throw new PARAPET_MFA_INVALID_ARGUMENT(
      'a user id',
      `must be a text of 1 to ${MAX_USER_ID} characters`,
    )
  }
}
