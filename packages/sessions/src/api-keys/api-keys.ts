/** API keys for machines: create, rotate, verify, revoke and list. */
import { timingSafeEqual } from 'node:crypto'
import { conflict, retryConflicts } from '@parapet/kit'
import {
  PARAPET_SESSIONS_INVALID_ARGUMENT,
  PARAPET_SESSIONS_KEY_ROTATED,
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_UNAVAILABLE,
} from '../errors.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import { describeValue } from '../users/describe-value.ts'
import { isName, isNameList, isUserId } from '../users/names.ts'
import type { RecentKeys } from './recent-keys.ts'
import { createApiKeyId, createApiKeySecret, hashApiKey, parseApiKey } from './key-text.ts'
import type { ApiKey, ApiKeyRecord, ApiKeyRepository, StoredApiKey } from './repository.ts'
import { checkKeySeal, sealKey } from './sealed-key.ts'

/** The argument of {@link ApiKeys.create}. */
export interface NewApiKey {
  /** 1 to 300 characters. */
  readonly ownerId: string
  /** 1 to 128 characters. */
  readonly name: string
  /** @default [] */
  readonly roles?: readonly string[]
  /** At most 256 names. */
  readonly scopes: readonly string[]
  /** 1 ms to ten years, in milliseconds. @default 7_776_000_000, 90 days */
  readonly lifetimeMs?: number
}

/** The API keys at `app.sessions.apiKeys`. Methods reject with the store's error. */
export interface ApiKeys {
  /**
   * Creates a key. This is the only time that its text is available: only a hash is stored. An owner
   * can have 1000 keys.
   *
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
   */
  create(key: NewApiKey): Promise<{ readonly key: ApiKey; readonly text: string }>
  /**
   * Replaces the secret of a key. The old secret works for another `overlapMs`, in which the key can only be
   * rotated with an overlap of 0: that ends all older secrets at once.
   *
   * @param overlapMs 0 to ten years, in milliseconds. @default 86_400_000, one day
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_KEY_ROTATED, PARAPET_SESSIONS_INVALID_ARGUMENT
   */
  rotate(id: string, overlapMs?: number): Promise<{ readonly key: ApiKey; readonly text: string }>
  /** The valid key with this text, or `null`. */
  verify(text: string): Promise<ApiKey | null>
  /** @returns whether the key existed. */
  revoke(id: string): Promise<boolean>
  revokeAll(ownerId: string): Promise<void>
  list(ownerId: string): Promise<ApiKey[]>
}

const DEFAULT_LIFETIME_MS = 7_776_000_000
const MAX_LIFETIME_MS = 315_360_000_000
const DEFAULT_OVERLAP_MS = 86_400_000
const MAX_KEYS_PER_OWNER = 1000
const USE_INTERVAL_MS = 60_000
/** How many last uses this process remembers. Beyond it all are dropped, and written once more. */
const MAX_NOTED = 10_000

/** What {@link createApiKeys} needs. */
export interface ApiKeySettings {
  readonly repository: ApiKeyRepository
  readonly recent: Pick<RecentKeys, 'find' | 'changed'>
  readonly seal: RecordSeal
  readonly now: () => number
  /** The text in front of every key, without its `_`. */
  readonly prefix: string
}

/** Creates the API keys. */
export function createApiKeys(settings: ApiKeySettings): ApiKeys {
  return new StoredApiKeys(settings)
}

class StoredApiKeys implements ApiKeys {
  readonly #repository: ApiKeyRepository
  readonly #recent: ApiKeySettings['recent']
  readonly #seal: RecordSeal
  readonly #now: () => number
  readonly #prefix: string
  /** When this process last wrote the use of a key. */
  readonly #noted = new Map<string, number>()

  constructor({ repository, recent, seal, now, prefix }: ApiKeySettings) {
    this.#repository = repository
    this.#recent = recent
    this.#seal = seal
    this.#now = now
    this.#prefix = prefix
  }

  async create(given: NewApiKey): Promise<{ key: ApiKey; text: string }> {
    const { ownerId, name, scopes, roles, lifetimeMs } = requireNewApiKey(given)
    const id = createApiKeyId()
    const { text, hash } = createApiKeySecret(id, this.#prefix)
    const at = this.#now()
    const record = sealKey(this.#seal, {
      id,
      ownerId,
      name,
      roles: [...roles],
      scopes: [...scopes],
      createdAt: at,
      expiresAt: at + lifetimeMs,
      rotatedAt: null,
      hash,
      previous: null,
    })
    if (!(await this.#repository.add(record, MAX_KEYS_PER_OWNER))) {
      throw new PARAPET_SESSIONS_INVALID_ARGUMENT(
        'ownerId',
        `the id of an owner with less than ${MAX_KEYS_PER_OWNER} API keys`,
        `${describeValue(ownerId)}, whose keys must be revoked first`,
      )
    }
    return { key: viewOf({ record, lastUsedAt: null }), text }
  }

  rotate(id: string, overlapMs = DEFAULT_OVERLAP_MS): Promise<{ key: ApiKey; text: string }> {
    return retryConflicts(
      async () => {
        requireDuration('overlapMs', overlapMs, 0)
        const stored = await this.#repository.find(id)
        const at = this.#now()
        const isValid = stored !== null && stored.record.expiresAt > at
        // A new seal on a record that someone else wrote would make it genuine.
        if (!isValid || checkKeySeal(this.#seal, id, stored.record) === null) {
          throw new PARAPET_SESSIONS_NOT_FOUND()
        }
        const { record, lastUsedAt } = stored
        const isOverlapping = record.previous !== null && record.previous.until > at
        if (isOverlapping && overlapMs > 0) throw new PARAPET_SESSIONS_KEY_ROTATED()
        const { text, hash } = createApiKeySecret(id, this.#prefix)
        const previous = { hash: record.hash, until: at + overlapMs }
        const next = sealKey(this.#seal, { ...record, rotatedAt: at, hash, previous })
        if (!(await this.#repository.replace(record, next, at))) return conflict
        await this.#recent.changed(id)
        return { key: viewOf({ record: next, lastUsedAt }), text }
      },
      () => new PARAPET_SESSIONS_UNAVAILABLE(),
    )
  }

  async verify(text: string): Promise<ApiKey | null> {
    const parsed = parseApiKey(text, this.#prefix)
    if (parsed === null) return null
    const stored = await this.#recent.find(parsed.id)
    const at = this.#now()
    if (stored === null || stored.record.expiresAt <= at) return null
    const { hash, previous } = stored.record
    const given = hashApiKey(parsed.id, parsed.secret)
    const isPrevious = previous !== null && previous.until > at && isSameHash(given, previous.hash)
    if (!isSameHash(given, hash) && !isPrevious) return null
    const state = checkKeySeal(this.#seal, parsed.id, stored.record)
    if (state === null) return null
    if (state === 'former') await this.#reseal(stored.record, at)
    await this.#noteUse(stored, at)
    return viewOf(stored)
  }

  async revoke(id: string): Promise<boolean> {
    try {
      return await this.#repository.remove(id)
    } finally {
      // Also after a failure: the key may be gone.
      await this.#recent.changed(id)
    }
  }

  async revokeAll(ownerId: string): Promise<void> {
    try {
      await this.#repository.removeAll(ownerId)
    } finally {
      await this.#recent.changed(null)
    }
  }

  async list(ownerId: string): Promise<ApiKey[]> {
    const stored = await this.#repository.list(ownerId)
    const at = this.#now()
    return stored
      .filter(({ record }) => record.expiresAt > at)
      .filter(({ record }) => checkKeySeal(this.#seal, record.id, record) !== null)
      .map(viewOf)
  }

  /** Seals a key by the first secret, so that the former secret can be removed. */
  async #reseal(record: ApiKeyRecord, at: number): Promise<void> {
    // The key is valid even if it cannot be written; its next use tries again.
    await this.#repository.replace(record, sealKey(this.#seal, record), at).catch(() => {})
  }

  /** At most one write a minute: a busy key must not cost a write for each request. */
  async #noteUse({ record, lastUsedAt }: StoredApiKey, at: number): Promise<void> {
    const known = Math.max(lastUsedAt ?? -Infinity, this.#noted.get(record.id) ?? -Infinity)
    if (at - known < USE_INTERVAL_MS) return
    if (this.#noted.size >= MAX_NOTED) this.#noted.clear()
    this.#noted.set(record.id, at)
    // The key is valid even if its use cannot be written.
    await this.#repository.noteUse(record, at).catch(() => {})
  }
}

function viewOf({ record, lastUsedAt }: StoredApiKey): ApiKey {
  const { hash: _hash, previous: _previous, seal: _seal, ...key } = record
  return Object.freeze({ ...key, lastUsedAt })
}

function isSameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}

function requireNewApiKey({
  ownerId,
  name,
  scopes,
  roles = [],
  lifetimeMs = DEFAULT_LIFETIME_MS,
}: NewApiKey): Required<NewApiKey> {
  if (!isUserId(ownerId)) refuse('ownerId', 'a string of 1 to 300 characters', ownerId)
  if (!isName(name)) refuse('name', 'a string of 1 to 128 characters', name)
  if (!isNameList(scopes)) refuse('scopes', LIST_OF_NAMES, scopes)
  if (!isNameList(roles)) refuse('roles', LIST_OF_NAMES, roles)
  requireDuration('lifetimeMs', lifetimeMs, 1)
  return { ownerId, name, scopes, roles, lifetimeMs }
}

const LIST_OF_NAMES = 'an array of at most 256 strings of 1 to 128 characters'

function requireDuration(name: string, value: number, min: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= MAX_LIFETIME_MS) return
  refuse(name, `an integer from ${min} to ${MAX_LIFETIME_MS} (milliseconds)`, value)
}

function refuse(name: string, expected: string, value: unknown): never {
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(name, expected, describeValue(value))
}
