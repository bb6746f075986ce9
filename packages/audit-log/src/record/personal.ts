/**
 * Personal values: commitments for the log, ciphertexts beside it, and one key for each subject
 * whose end is the end of both.
 */
import { createHmac, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { createLocalCipher, uuidV7, type Cipher, type Clock } from '@parapet/kit'
import { canonicalize, type Json } from './canonical.ts'
import type { Commitment } from './leaf.ts'
import { keyedHash } from './protect.ts'

/** A subject's key as it is stored: sealed under the app's cipher. */
export interface SubjectKey {
  readonly id: string
  readonly subject: string
  readonly sealed: string
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number
}

/** A personal value as it is stored. */
export interface SealedValue {
  readonly record: string
  readonly path: string
  readonly subject: string
  readonly keyId: string
  readonly sealed: string
}

/** What is kept beside a record: it travels with it and is no part of the log. */
export interface Beside {
  readonly keys?: readonly SubjectKey[]
  readonly values?: readonly SealedValue[]
  /** The text that the record's `blob` names. */
  readonly blob?: string
}

/** What {@link SubjectKeys} works with. */
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
/** Another process may go on with a key for so long after its subject was erased. */
const HOLD_MS = 3_600_000
const MAX_HELD = 10_000

/** Seals and opens personal values; each process makes its own key for a subject, for an hour. */
export class SubjectKeys {
  readonly #settings: SubjectKeysSettings
  readonly #held = new Map<string, Promise<HeldKey>>()

  constructor(settings: SubjectKeysSettings) {
    this.#settings = settings
  }

  /** What stands for the subject in the log. */
  pseudonymOf(subject: string): string {
    // Hex, because the directory store names files by it.
    const hash = keyedHash(this.#settings.hashKey, 'subject', subject)
    return Buffer.from(hash, 'base64url').toString('hex').slice(0, 32)
  }

  /** Seals one value. `key` comes with every value, so that no record depends on another's. */
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

  /** Opens one value; the commitment tells where in its record it belongs. `undefined` when it does not open. */
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

  /** Forgets what is held of a subject. */
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
    // A key that could not be sealed must not be the answer for an hour.
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

/** The commitments of a leaf, in the order they were made. */
export function commitmentsIn(value: unknown): Commitment[] {
  if (typeof value !== 'object' || value === null) return []
  const { $pii, subject } = value as Partial<Commitment>
  if (typeof $pii === 'string' && typeof subject === 'string') return [{ $pii, subject }]
  return Object.values(value).flatMap(commitmentsIn)
}

function contextOf({ id, subject }: Pick<SubjectKey, 'id' | 'subject'>): string[] {
  return ['audit-log', 'subject-key', subject, id]
}

function cipherOf(secret: Buffer): Cipher {
  return createLocalCipher([{ id: 1, secret }])
}

/** The salt is of this place alone: equal values of one subject have different commitments. */
function commit(secret: Buffer, record: string, path: string, text: string): string {
  const salt = hkdfSync('sha256', secret, '', `parapet-audit-log/commit\n${record}\n${path}`, 32)
  return createHmac('sha256', Buffer.from(salt)).update(text).digest('base64url')
}
