/** Values that must not stand in the log as they are: the marks, and the rules by field. */
import { createHmac, type KeyObject } from 'node:crypto'
import { canonicalize, toJson } from './canonical.ts'

/** A value that can be erased later: made by {@link pii}. */
export class PersonalValue {
  readonly value: unknown
  readonly subject: string

  constructor(value: unknown, subject: string) {
    this.value = value
    this.subject = subject
  }
}

/** A value that is stored as a keyed hash: made by {@link hmac}. */
export class HashedValue {
  readonly value: unknown

  constructor(value: unknown) {
    this.value = value
  }
}

/**
 * Marks a personal value: the log holds a salted commitment to it, and the value itself is kept
 * beside the log, encrypted under a key of its subject, until `app.audit.erase(subject)`.
 *
 * @param value anything JSON can hold.
 * @param of.subject whose value it is: the id by which it will be erased.
 */
export function pii(value: unknown, of: { readonly subject: string }): PersonalValue {
  return new PersonalValue(value, of.subject)
}

/** Marks a value to be stored as a keyed hash: searchable by `app.audit.hash(value)`, not readable. */
export function hmac(value: unknown): HashedValue {
  return new HashedValue(value)
}

/** What to do with a field: leave it out, store its keyed hash, or make it erasable with the record's principal. */
export type FieldRule = 'drop' | 'hmac' | 'pii'

/** What stands where a secret was. */
export const REDACTED = '[redacted]'

const SECRET =
  /passw|passphrase|passcode|secret|token|authorization|cookie|credential|api[-_]?key|private[-_]?key|otp$|^pin$|^cvv$|^cvc$/i

/** Whether a member of this name holds a secret whatever the rules say. */
export function isSecretName(name: string): boolean {
  let isSecret = known.get(name)
  if (isSecret === undefined) {
    isSecret = SECRET.test(name)
    if (known.size < MAX_KNOWN) known.set(name, isSecret)
  }
  return isSecret
}

/** The same few names come with every record. */
const known = new Map<string, boolean>()
const MAX_KNOWN = 1000

/**
 * The keyed hash of a value, with its type: the number 1 and the text "1" differ.
 *
 * @param purpose keeps hashes for different uses apart.
 */
export function keyedHash(key: KeyObject, purpose: string, value: unknown): string {
  return createHmac('sha256', key)
    .update(`parapet-audit-log/${purpose}\n`)
    .update(canonicalize(toJson(value)))
    .digest('base64url')
}

/** How a hashed value is written. */
export function formatHashed(hash: string): string {
  return `hmac:${hash}`
}
