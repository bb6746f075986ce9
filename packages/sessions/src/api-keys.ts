/** API keys for machines: made, rotated, verified and ended. */
import { timingSafeEqual } from 'node:crypto'
import { createApiKeyId, createApiKeySecret, hashApiKey, parseApiKey } from './api-key-text.ts'
import {
  PARAPET_SESSIONS_INVALID_ARGUMENT,
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_UNAVAILABLE,
} from './errors.ts'
import { isName, isNameList, isUserId } from './user.ts'

/** An API key without its secret. */
export interface ApiKey {
  readonly id: string
  /** Whose key it is; the principal's id. */
  readonly ownerId: string
  /** What the owner calls it. */
  readonly name: string
  readonly roles: readonly string[]
  /** What it may do; the principal's permissions. */
  readonly scopes: readonly string[]
  /** Milliseconds since the Unix epoch, as all times here. */
  readonly createdAt: number
  readonly expiresAt: number
  /** When the secret changed last; `null`: never. */
  readonly rotatedAt: number | null
  /** To the minute; `null`: never. */
  readonly lastUsedAt: number | null
}

/** What {@link ApiKeys.create} takes. */
export interface NewApiKey {
  readonly ownerId: string
  readonly name: string
  /** @default [] */
  readonly roles?: readonly string[]
  readonly scopes: readonly string[]
  /** At most ten years away, in milliseconds. @default 90 days */
  readonly lifetimeMs?: number
}

/** The keys at `app.sessions.apiKeys`. */
export interface ApiKeys {
  /** Makes a key. Its text is shown once: nothing that is kept leads back to it. */
  create(key: NewApiKey): Promise<{ readonly key: ApiKey; readonly text: string }>
  /**
   * Gives a key a new secret. The old one works for `overlapMs` more.
   *
   * @param overlapMs @default 86_400_000
   * @throws PARAPET_SESSIONS_NOT_FOUND
   */
  rotate(id: string, overlapMs?: number): Promise<{ readonly key: ApiKey; readonly text: string }>
  /** The key that a text opens, or `null`. @throws the store's error */
  verify(text: string): Promise<ApiKey | null>
  /** @returns whether there was one. */
  revoke(id: string): Promise<boolean>
  revokeAll(ownerId: string): Promise<void>
  list(ownerId: string): Promise<ApiKey[]>
}

/** What is kept of a key: nothing that opens anything. */
export interface ApiKeyRecord extends Omit<ApiKey, 'lastUsedAt'> {
  readonly hash: string
  /** The secret before the last rotation, and when it stops to work. */
  readonly previous: { readonly hash: string; readonly until: number } | null
}

/** A record, and when its key was used last. */
export interface KeptApiKey {
  readonly record: ApiKeyRecord
  readonly lastUsedAt: number | null
}

/** The port to where keys are kept. What has expired may be there, or gone. */
export interface ApiKeyRepository {
  /** @returns `false`, and keeps nothing: the owner has `maxKeys` already. */
  add(record: ApiKeyRecord, maxKeys: number): Promise<boolean>
  find(id: string): Promise<KeptApiKey | null>
  /** Puts `next` in the place of a record that has not changed since it was read. @returns whether it did */
  replace(record: ApiKeyRecord, next: ApiKeyRecord): Promise<boolean>
  noteUse(record: ApiKeyRecord, at: number): Promise<void>
  /** @returns whether there was one. */
  remove(id: string): Promise<boolean>
  removeAll(ownerId: string): Promise<void>
  list(ownerId: string): Promise<KeptApiKey[]>
}

const DEFAULT_LIFETIME_MS = 7_776_000_000
const MAX_LIFETIME_MS = 315_360_000_000
const DEFAULT_OVERLAP_MS = 86_400_000
const MAX_KEYS_PER_OWNER = 1000
const USED_STEP_MS = 60_000
/** Keys whose last use this process remembers; beyond it all are forgotten, and noted once more. */
const MAX_NOTED = 10_000
const MAX_TRIES = 8

/** Makes the keys. @param prefix in front of every key, without its `_`. */
export function createApiKeys(
  repository: ApiKeyRepository,
  now: () => number,
  prefix: string,
): ApiKeys {
  return new KeptApiKeys(repository, now, prefix)
}

class KeptApiKeys implements ApiKeys {
  readonly #repository: ApiKeyRepository
  readonly #now: () => number
  readonly #prefix: string
  /** When this process wrote down the use of a key. */
  readonly #noted = new Map<string, number>()

  constructor(repository: ApiKeyRepository, now: () => number, prefix: string) {
    this.#repository = repository
    this.#now = now
    this.#prefix = prefix
  }

  async create(given: NewApiKey): Promise<{ key: ApiKey; text: string }> {
    const { ownerId, name, scopes, roles = [], lifetimeMs = DEFAULT_LIFETIME_MS } = given
    if (!isUserId(ownerId)) refuse('ownerId', 'must be a string of 1 to 300 characters')
    if (!isName(name)) refuse('name', 'must be a string of 1 to 128 characters')
    if (!isNameList(scopes) || !isNameList(roles)) refuse('scopes and roles', 'must be names')
    if (!isDuration(lifetimeMs, 1)) refuse('lifetimeMs', 'must be 1 ms to ten years')
    const id = createApiKeyId()
    const { text, hash } = createApiKeySecret(id, this.#prefix)
    const at = this.#now()
    const record: ApiKeyRecord = {
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
    }
    if (!(await this.#repository.add(record, MAX_KEYS_PER_OWNER))) {
      refuse('ownerId', `has ${MAX_KEYS_PER_OWNER} keys already`)
    }
    return { key: viewOf({ record, lastUsedAt: null }), text }
  }

  async rotate(id: string, overlapMs = DEFAULT_OVERLAP_MS): Promise<{ key: ApiKey; text: string }> {
    if (!isDuration(overlapMs, 0)) refuse('overlapMs', 'must be 0 ms to ten years')
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const kept = await this.#repository.find(id)
      const at = this.#now()
      if (kept === null || kept.record.expiresAt <= at) throw new PARAPET_SESSIONS_NOT_FOUND()
      const { record, lastUsedAt } = kept
      const { text, hash } = createApiKeySecret(id, this.#prefix)
      const previous = { hash: record.hash, until: at + overlapMs }
      const next: ApiKeyRecord = { ...record, rotatedAt: at, hash, previous }
      if (await this.#repository.replace(record, next)) {
        return { key: viewOf({ record: next, lastUsedAt }), text }
      }
    }
    throw new PARAPET_SESSIONS_UNAVAILABLE()
  }

  async verify(text: string): Promise<ApiKey | null> {
    const parsed = parseApiKey(text, this.#prefix)
    if (parsed === null) return null
    const kept = await this.#repository.find(parsed.id)
    const at = this.#now()
    if (kept === null || kept.record.expiresAt <= at) return null
    const { hash, previous } = kept.record
    const given = hashApiKey(parsed.id, parsed.secret)
    const isPrevious = previous !== null && previous.until > at && isSame(given, previous.hash)
    if (!isSame(given, hash) && !isPrevious) return null
    await this.#noteUse(kept, at)
    return viewOf(kept)
  }

  revoke(id: string): Promise<boolean> {
    return this.#repository.remove(id)
  }

  revokeAll(ownerId: string): Promise<void> {
    return this.#repository.removeAll(ownerId)
  }

  async list(ownerId: string): Promise<ApiKey[]> {
    const kept = await this.#repository.list(ownerId)
    const at = this.#now()
    return kept.filter(({ record }) => record.expiresAt > at).map(viewOf)
  }

  /** To the minute, and once a minute: a busy key must not cost a write for each request. */
  async #noteUse({ record, lastUsedAt }: KeptApiKey, at: number): Promise<void> {
    const known = Math.max(lastUsedAt ?? -Infinity, this.#noted.get(record.id) ?? -Infinity)
    if (at - known < USED_STEP_MS) return
    if (this.#noted.size >= MAX_NOTED) this.#noted.clear()
    this.#noted.set(record.id, at)
    // The key is good, whether or not that can be written down.
    await this.#repository.noteUse(record, at).catch(() => {})
  }
}

function viewOf({ record, lastUsedAt }: KeptApiKey): ApiKey {
  const { hash: _hash, previous: _previous, ...key } = record
  return Object.freeze({ ...key, lastUsedAt })
}

function isSame(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}

function isDuration(value: number, min: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= MAX_LIFETIME_MS
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(`"${what}" of the API key`, problem)
}
