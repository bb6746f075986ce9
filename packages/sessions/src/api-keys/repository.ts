/** The port to the place where API keys are stored. */

/** An API key without its secret. */
export interface ApiKey {
  readonly id: string
  /** The id of the owner, which becomes the id of the principal. */
  readonly ownerId: string
  /** The name that the owner gave the key. */
  readonly name: string
  readonly roles: readonly string[]
  /** What the key may do; they become the permissions of the principal. */
  readonly scopes: readonly string[]
  /** Milliseconds since the Unix epoch, like the other times. */
  readonly createdAt: number
  readonly expiresAt: number
  /** When the secret was last replaced; `null`: never. */
  readonly rotatedAt: number | null
  /** To the minute; `null`: never. */
  readonly lastUsedAt: number | null
}

/** What is stored of a key: a hash instead of the secret. */
export interface ApiKeyRecord extends Omit<ApiKey, 'lastUsedAt'> {
  readonly hash: string
  /** The hash of the secret before the last rotation, and when it stops working. */
  readonly previous: { readonly hash: string; readonly until: number } | null
  /** Authenticates the record; absent in records of older versions. */
  readonly seal?: string
}

/** A record, and when its key was last used. */
export interface StoredApiKey {
  readonly record: ApiKeyRecord
  readonly lastUsedAt: number | null
}

/** Stores API keys. Expired keys may be returned or not. Methods reject with the store's error. */
export interface ApiKeyRepository {
  /** @returns `false`, and stores nothing, if the owner has `maxKeys` keys already. */
  add(record: ApiKeyRecord, maxKeys: number): Promise<boolean>
  find(id: string): Promise<StoredApiKey | null>
  /**
   * Replaces the hashes and the seal of a record unless they changed since it was read.
   *
   * @returns whether they were replaced
   */
  replace(record: ApiKeyRecord, next: ApiKeyRecord, at: number): Promise<boolean>
  noteUse(record: ApiKeyRecord, at: number): Promise<void>
  /** @returns whether the key existed. */
  remove(id: string): Promise<boolean>
  removeAll(ownerId: string): Promise<void>
  list(ownerId: string): Promise<StoredApiKey[]>
}
