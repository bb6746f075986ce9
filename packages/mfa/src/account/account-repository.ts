/** The storage port for accounts. */

/** A sealed account with the version that {@link AccountRepository.save} compares. */
export interface StoredAccount {
  readonly version: number
  readonly sealed: string
}

/** Credential ids to add to, or remove from, the index of passkey owners. */
export interface CredentialChange {
  readonly add?: string
  readonly remove?: readonly string[]
}

/**
 * Stores one sealed account per user and an index from passkeys to their owners.
 * {@link createStoreAccounts} and {@link createSqlAccounts} implement the same contract.
 */
export interface AccountRepository {
  load(userId: string): Promise<StoredAccount | null>
  /**
   * Writes version `expected + 1` if the stored version is `expected` (0: no record).
   *
   * @returns whether it was written. Of concurrent writers with the same `expected`, one succeeds.
   */
  save(
    userId: string,
    expected: number,
    sealed: string,
    credentials?: CredentialChange,
  ): Promise<boolean>
  /** The user who owns a passkey; `null` if no user does. */
  findByCredential(credentialId: string): Promise<string | null>
  /**
   * Up to `limit` user ids behind `after` in the order of the storage; `null`: from the first one. Only
   * storages that can list have it; `app.mfa.resealAll` needs it.
   */
  list?(after: string | null, limit: number): Promise<readonly string[]>
  /** Deletes a user. @param credentials the ids of the passkeys to delete from the index. */
  remove(userId: string, credentials: readonly string[]): Promise<void>
}
