/** Marks for values that must not be logged in clear text (`pii`, `hmac`), and secret member names. */
import { createHmac, type KeyObject } from 'node:crypto'
import { canonicalize, toJson } from './canonical-json.ts'

/** A value that can be erased later; see {@link pii}. */
export class PersonalValue {
  readonly value: unknown
  readonly subject: string

  constructor(value: unknown, subject: string) {
    this.value = value
    this.subject = subject
  }
}

/** A value that is stored as a keyed hash; see {@link hmac}. */
export class HashedValue {
  readonly value: unknown

  constructor(value: unknown) {
    this.value = value
  }
}

/**
 * Marks a personal value. The log holds a salted commitment. The value itself is stored separately,
 * encrypted with a key of its subject, until `app.audit.erase(subject)`.
 *
 * @param value any JSON value.
 * @param of.subject the id of the person; `erase` takes the same id.
 */
export function pii(value: unknown, of: { readonly subject: string }): PersonalValue {
  return new PersonalValue(value, of.subject)
}

/** Marks a value to be stored as a keyed hash: `app.audit.hash(value)` finds it, nothing reads it. */
export function hmac(value: unknown): HashedValue {
  return new HashedValue(value)
}

/**
 * What to do with a field: remove it, store its keyed hash, or make it erasable with the principal. In a record
 * without a principal, `pii` stores the keyed hash, and `pii-or-clear` leaves the field readable.
 */
export type FieldRule = 'drop' | 'hmac' | 'pii' | 'pii-or-clear'

/** Replaces a secret. */
export const REDACTED = '[redacted]'

const SECRET =
  /passw|passphrase|passcode|secret|token|authorization|cookie|credential|api[-_ ]?key|private[-_ ]?key|otp$|^pin$|^cvv$|^cvc$/i
/** Words that are secrets alone, but not within another word: "pass" and "passenger". */
const SECRET_WORD = /(?:^|[^a-z])(?:pass|pwd|jwt|bearer|ssn)(?![a-z])/
const BETWEEN_WORDS = /(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g

/** Whether a member with this name is always redacted. */
export function isSecretName(name: string): boolean {
  let isSecret = known.get(name)
  if (isSecret === undefined) {
    isSecret =
      SECRET.test(name) || SECRET_WORD.test(name.replaceAll(BETWEEN_WORDS, ' ').toLowerCase())
    if (known.size < MAX_KNOWN) known.set(name, isSecret)
  }
  return isSecret
}

const USER_INFO = /(:\/\/)[^/?#\s@]*@/g
const PARAMETER = /([?&#]([^=&#\s]{1,100})=)[^&#\s]*/g

/** Redacts the credentials and the secret parameters of URLs; `undefined` if there are none. */
export function withoutUrlSecrets(text: string): string | undefined {
  if (!text.includes('://')) return undefined
  const safe = text
    .replaceAll(USER_INFO, `$1${REDACTED}@`)
    .replaceAll(PARAMETER, (whole: string, start: string, name: string) =>
      isSecretName(name) ? start + REDACTED : whole,
    )
  return safe === text ? undefined : safe
}

/** A cache: most records have the same few names. */
const known = new Map<string, boolean>()
const MAX_KNOWN = 1000

/**
 * The keyed hash of a value and its type: the number 1 and the text "1" differ.
 *
 * @param purpose separates hashes for different uses.
 */
export function keyedHash(key: KeyObject, purpose: string, value: unknown): string {
  return createHmac('sha256', key)
    .update(`parapet-audit-log/${purpose}\n`)
    .update(canonicalize(toJson(value)))
    .digest('base64url')
}

/** The text of a hashed value in the log. */
export function formatHashed(hash: string): string {
  return `hmac:${hash}`
}
