/**
 * API keys for machines: `<prefix>_<id><secret><checksum>`. The prefix lets a scanner find a leaked
 * key, the checksum lets it be sure, and only a hash of the secret is kept.
 *
 * @see docs/spec/api-key.md
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { takeRandom, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_NOT_FOUND } from './errors.ts'
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

interface KeyRecord extends Omit<ApiKey, 'lastUsedAt'> {
  readonly hash: string
  /** The secret before the last rotation, and when it stops to work. */
  readonly previous: { readonly hash: string; readonly until: number } | null
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ID_BYTES = 12
const SECRET_BYTES = 32
const CHECKSUM_BYTES = 4
const [ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH] = [17, 43, 6]
const TEXT_LENGTH = ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH
const DEFAULT_LIFETIME_MS = 7_776_000_000
const MAX_LIFETIME_MS = 315_360_000_000
const DEFAULT_OVERLAP_MS = 86_400_000
const MAX_KEYS_PER_OWNER = 1000
/** For racers that go beyond the limit and are taken off again. */
const LIST_SLACK = 100
const USED_STEP_MS = 60_000
const MAX_TRIES = 8

/** Makes the keys over a store. @param prefix in front of every key, without its `_`. */
export function createApiKeys(store: Store, now: () => number, prefix: string): ApiKeys {
  return new StoredApiKeys(store, now, prefix)
}

/** Whether a bearer token has the prefix of an API key. */
export function looksLikeApiKey(text: string, prefix: string): boolean {
  return text.startsWith(`${prefix}_`)
}

class StoredApiKeys implements ApiKeys {
  readonly #store: Store
  readonly #now: () => number
  readonly #prefix: string

  constructor(store: Store, now: () => number, prefix: string) {
    this.#store = store
    this.#now = now
    this.#prefix = prefix
  }

  async create(given: NewApiKey): Promise<{ key: ApiKey; text: string }> {
    const { ownerId, name, scopes, roles = [], lifetimeMs = DEFAULT_LIFETIME_MS } = given
    if (!isUserId(ownerId)) refuse('ownerId', 'must be a string of 1 to 300 characters')
    if (!isName(name)) refuse('name', 'must be a string of 1 to 128 characters')
    if (!isNameList(scopes) || !isNameList(roles)) refuse('scopes and roles', 'must be names')
    if (!isDuration(lifetimeMs, 1)) refuse('lifetimeMs', 'must be 1 ms to ten years')
    const id = encode(takeRandom(ID_BYTES), ID_LENGTH)
    const secret = takeRandom(SECRET_BYTES)
    const at = this.#now()
    const record: KeyRecord = {
      id,
      ownerId,
      name,
      roles: [...roles],
      scopes: [...scopes],
      createdAt: at,
      expiresAt: at + lifetimeMs,
      rotatedAt: null,
      hash: hashApiKey(id, secret),
      previous: null,
    }
    // On the owner's list before it works: a key that is on no list would outlive its owner.
    const bounds = { ttlMs: lifetimeMs, maxMembers: MAX_KEYS_PER_OWNER + LIST_SLACK }
    const { size } = await this.#store.addMember(ownerKeyOf(ownerId), id, bounds)
    if (size > MAX_KEYS_PER_OWNER) {
      await this.#store.removeMember(ownerKeyOf(ownerId), id)
      refuse('ownerId', `has ${MAX_KEYS_PER_OWNER} keys already`)
    }
    await this.#store.set(keyOf(id), JSON.stringify(record), lifetimeMs)
    return { key: await this.#view(record), text: this.#write(id, secret) }
  }

  async rotate(id: string, overlapMs = DEFAULT_OVERLAP_MS): Promise<{ key: ApiKey; text: string }> {
    if (!isDuration(overlapMs, 0)) refuse('overlapMs', 'must be 0 ms to ten years')
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const stored = await this.#store.get(keyOf(id))
      const record = stored === null ? null : (JSON.parse(stored) as KeyRecord)
      const at = this.#now()
      if (stored === null || record === null || record.expiresAt <= at) break
      const secret = takeRandom(SECRET_BYTES)
      const next: KeyRecord = {
        ...record,
        hash: hashApiKey(id, secret),
        rotatedAt: at,
        previous: { hash: record.hash, until: at + overlapMs },
      }
      const leftMs = record.expiresAt - at
      if (await this.#store.compareAndSet(keyOf(id), stored, JSON.stringify(next), leftMs)) {
        return { key: await this.#view(next), text: this.#write(id, secret) }
      }
    }
    throw new PARAPET_SESSIONS_NOT_FOUND()
  }

  async verify(text: string): Promise<ApiKey | null> {
    const parsed = parseApiKey(text, this.#prefix)
    if (parsed === null) return null
    const stored = await this.#store.get(keyOf(parsed.id))
    if (stored === null) return null
    const record = JSON.parse(stored) as KeyRecord
    const at = this.#now()
    const given = Buffer.from(hashApiKey(parsed.id, parsed.secret))
    const current = timingSafeEqual(given, Buffer.from(record.hash))
    const previous =
      record.previous !== null &&
      record.previous.until > at &&
      timingSafeEqual(given, Buffer.from(record.previous.hash))
    if ((!current && !previous) || record.expiresAt <= at) return null
    const key = await this.#view(record)
    if (key.lastUsedAt === null || at - key.lastUsedAt >= USED_STEP_MS) {
      await this.#store.set(usedKeyOf(parsed.id), String(at), record.expiresAt - at)
    }
    return key
  }

  async revoke(id: string): Promise<boolean> {
    const stored = await this.#store.getAndDelete(keyOf(id))
    if (stored === null) return false
    const { ownerId } = JSON.parse(stored) as KeyRecord
    await this.#store.delete(usedKeyOf(id))
    await this.#store.removeMember(ownerKeyOf(ownerId), id)
    return true
  }

  async revokeAll(ownerId: string): Promise<void> {
    for (const id of await this.#store.members(ownerKeyOf(ownerId))) await this.revoke(id)
  }

  async list(ownerId: string): Promise<ApiKey[]> {
    const ids = await this.#store.members(ownerKeyOf(ownerId))
    const stored = await Promise.all(ids.map((id) => this.#store.get(keyOf(id))))
    const records = stored.filter((text) => text !== null)
    return Promise.all(records.map((text) => this.#view(JSON.parse(text) as KeyRecord)))
  }

  async #view({ hash: _hash, previous: _previous, ...key }: KeyRecord): Promise<ApiKey> {
    const used = await this.#store.get(usedKeyOf(key.id))
    return Object.freeze({ ...key, lastUsedAt: used === null ? null : Number(used) })
  }

  #write(id: string, secret: Buffer): string {
    const body = id + encode(secret, SECRET_LENGTH)
    return `${this.#prefix}_${body}${checksumOf(this.#prefix, body)}`
  }
}

/** Reads a key's text. Almost every mistyped or invented one ends here, without a question to the store. */
export function parseApiKey(text: string, prefix: string): { id: string; secret: Buffer } | null {
  if (!looksLikeApiKey(text, prefix)) return null
  const rest = text.slice(prefix.length + 1)
  if (rest.length !== TEXT_LENGTH || !/^[0-9A-Za-z]+$/.test(rest)) return null
  const body = rest.slice(0, -CHECKSUM_LENGTH)
  if (checksumOf(prefix, body) !== rest.slice(-CHECKSUM_LENGTH)) return null
  const secret = decode(body.slice(ID_LENGTH), SECRET_BYTES)
  return secret === null ? null : { id: body.slice(0, ID_LENGTH), secret }
}

function checksumOf(prefix: string, body: string): string {
  const bytes = Buffer.alloc(CHECKSUM_BYTES)
  bytes.writeUInt32BE(crc32(`${prefix}_${body}`))
  return encode(bytes, CHECKSUM_LENGTH)
}

/** 256 random bits need no slow hash; the id keeps a hash from fitting another key. */
export function hashApiKey(id: string, secret: Buffer): string {
  return createHash('sha256').update(`parapet api key ${id} `).update(secret).digest('base64url')
}

function encode(bytes: Buffer, length: number): string {
  let value = BigInt(`0x${bytes.toString('hex')}`)
  let text = ''
  while (text.length < length) {
    text = ALPHABET[Number(value % 62n)]! + text
    value /= 62n
  }
  return text
}

function decode(text: string, size: number): Buffer | null {
  let value = 0n
  for (const letter of text) value = value * 62n + BigInt(ALPHABET.indexOf(letter))
  const hex = value.toString(16).padStart(2 * size, '0')
  return hex.length > 2 * size ? null : Buffer.from(hex, 'hex')
}

function isDuration(value: number, min: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= MAX_LIFETIME_MS
}

function keyOf(id: string): string {
  return `sessions:api-key:${id}`
}

function usedKeyOf(id: string): string {
  return `sessions:api-key-used:${id}`
}

function ownerKeyOf(ownerId: string): string {
  return `sessions:api-keys-of:${ownerId}`
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(`"${what}" of the API key`, problem)
}
