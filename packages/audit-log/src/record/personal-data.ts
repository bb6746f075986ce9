/**
 * Personal values: the log holds a commitment, the store holds the ciphertext. Both become useless
 * when the key of the subject is destroyed.
 */
import { createHash, createHmac, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { createLocalCipher, uuidV7, type Cipher, type Clock } from '@parapet/kit'
import { canonicalize, type Json } from './canonical-json.ts'
import type { Commitment } from './leaf.ts'
import { keyedHash } from './marks.ts'

/** A stored key of a subject, encrypted with the app's cipher. */
export interface SubjectKey {
  readonly id: string
  readonly subject: string
  readonly sealed: string
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
}

/** A stored personal value, encrypted with the key of its subject. */
export interface SealedValue {
  readonly record: string
  readonly path: string
  readonly subject: string
  readonly keyId: string
  readonly sealed: string
}

/** Data that is stored with a record but is not part of the log. */
export interface Attachments {
  readonly keys?: readonly SubjectKey[]
  readonly values?: readonly SealedValue[]
  /** The text that the record's `blob` describes. */
  readonly blob?: string
}

/** What {@link SubjectKeys} needs. */
export interface SubjectKeysSettings {
  readonly cipher: Cipher
  readonly hashKey: KeyObject
  readonly clock: Clock
}

interface HeldKey {
  readonly stored: SubjectKey
  readonly secret: Buffer
  readonly expiresAt: number
}

const KEY_BYTES = 32
/** How long a process uses a key; it may use it this long after another process erased the subject. */
const HOLD_MS = 3_600_000
const MAX_HELD = 10_000

/** Encrypts and decrypts personal values. Each process makes its own key per subject, for one hour. */
export class SubjectKeys {
  readonly #settings: SubjectKeysSettings
  readonly #held = new Map<string, Promise<HeldKey>>()

  constructor(settings: SubjectKeysSettings) {
    this.#settings = settings
  }

  /** The pseudonym of a subject in the log: 32 hex digits. */
  pseudonymOf(subject: string): string {
    // Hex, because the directory store uses it as a file name.
    const hash = keyedHash(this.#settings.hashKey, 'subject', subject)
    return Buffer.from(hash, 'base64url').toString('hex').slice(0, 32)
  }

  /** Encrypts one value. The key is returned with every value, so that no record depends on another. */
  async seal(
    subject: string,
    record: string,
    path: string,
    value: Json,
  ): Promise<{ commitment: string; value: SealedValue; key: SubjectKey }> {
    const pseudonym = this.pseudonymOf(subject)
    const { stored, secret } = await this.#hold(pseudonym)
    const text = canonicalize(value)
    const sealed = await cipherOf(secret).seal(text, [record, path])
    return {
      commitment: commit(secret, record, path, text),
      value: { record, path, subject: pseudonym, keyId: stored.id, sealed },
      key: stored,
    }
  }

  /**
   * Decrypts one value; `undefined` if that fails.
   *
   * @returns the commitment too, which identifies the member of the record.
   */
  async open(
    value: SealedValue,
    key: SubjectKey,
  ): Promise<{ readonly commitment: string; readonly value: Json } | undefined> {
    try {
      const secret = await this.#settings.cipher.open(key.sealed, contextOf(key))
      const text = (
        await cipherOf(secret).open(value.sealed, [value.record, value.path])
      ).toString()
      const commitment = commit(secret, value.record, value.path, text)
      return { commitment, value: JSON.parse(text) as Json }
    } catch {
      return undefined
    }
  }

  /** Drops the cached key of a subject. */
  forget(subject: string): void {
    this.#held.delete(this.pseudonymOf(subject))
  }

  async #hold(pseudonym: string): Promise<HeldKey> {
    const now = this.#settings.clock.now()
    const held = this.#held.get(pseudonym)
    if (held !== undefined && (await held).expiresAt > now) return held
    const made = this.#make(pseudonym, now)
    this.#held.delete(pseudonym)
    this.#held.set(pseudonym, made)
    if (this.#held.size > MAX_HELD) this.#held.delete(this.#held.keys().next().value!)
    // A failure must not be cached for an hour.
    made.catch(() => this.#held.delete(pseudonym))
    return made
  }

  async #make(subject: string, now: number): Promise<HeldKey> {
    const secret = randomBytes(KEY_BYTES)
    const id = uuidV7()
    const key = { id, subject, createdAt: now, sealed: '' }
    const sealed = await this.#settings.cipher.seal(secret, contextOf(key))
    return { stored: { ...key, sealed }, secret, expiresAt: now + HOLD_MS }
  }
}

/** The commitments in a record, in their order. */
export function commitmentsIn(value: unknown): Commitment[] {
  if (typeof value !== 'object' || value === null) return []
  const { $pii, sealed, subject } = value as Partial<Commitment>
  if (typeof $pii === 'string' && typeof subject === 'string') {
    return [typeof sealed === 'string' ? { $pii, sealed, subject } : { $pii, subject }]
  }
  return Object.values(value).flatMap(commitmentsIn)
}

const SEALED_HASH_DIGITS = 32

/** The hash in {@link Commitment.sealed}. */
export function sealedHash(value: SealedValue, key: SubjectKey): string {
  const text = `${value.sealed}\n${key.id}\n${key.sealed}`
  return createHash('sha256').update(text).digest('hex').slice(0, SEALED_HASH_DIGITS)
}

function contextOf({ id, subject }: Pick<SubjectKey, 'id' | 'subject'>): string[] {
  return ['audit-log', 'subject-key', subject, id]
}

function cipherOf(secret: Buffer): Cipher {
  return createLocalCipher([{ id: 1, secret }])
}

/** The salt depends on record and path, so that equal values have different commitments. */
function commit(secret: Buffer, record: string, path: string, text: string): string {
  const salt = hkdfSync('sha256', secret, '', `parapet-audit-log/commit\n${record}\n${path}`, 32)
  return createHmac('sha256', Buffer.from(salt)).update(text).digest('base64url')
}
