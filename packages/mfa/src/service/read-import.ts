/** Checks what another system has stored about the factors of a user. */
import type { TotpForm } from '../account/account.ts'
import { parseImportedCode } from '../backup-codes/backup-code.ts'

/** The factors of one user of another system; `null` as a database returns it is the same as absent. */
export interface ImportedFactors {
  readonly userId: string
  readonly totp?: {
    /** Base32, in any case, with or without blanks, hyphens and padding. */
    readonly secret: string
    /** @default 'SHA1' */
    readonly algorithm?: string
    /** 6 to 8. @default 6 */
    readonly digits?: number
    /** 15 to 120. @default 30 */
    readonly periodSeconds?: number
    /** Milliseconds since the Unix epoch. @default now */
    readonly enrolledAt?: number
  } | null
  /** The unused codes in clear: at most 20, of 8 to 64 characters, not only digits like a code of an app. */
  readonly backupCodes?: readonly string[] | null
}

/** Why the factors of a user were not imported. */
export type ImportFault =
  | 'member'
  | 'user_id'
  | 'secret'
  | 'algorithm'
  | 'digits'
  | 'period'
  | 'guessable'
  | 'backup_codes'
  | 'no_factor'
  | 'storage'

/** An authenticator app, ready to be stored. */
export interface ReadTotp {
  readonly secret: string
  readonly form: TotpForm
  readonly enrolledAt: number
  /** Whether the secret has fewer than 112 bits. @see NIST SP 800-63B-4, section 3.1.4.1 */
  readonly isWeak: boolean
}

/** What was read, or why not. */
export type ReadFactors =
  | { readonly totp: ReadTotp | null; readonly codes: readonly string[] }
  | { readonly fault: ImportFault }

const ALGORITHMS = ['SHA1', 'SHA256', 'SHA512'] as const
/** 80 bits: what authenticator apps were first given. */
const MIN_SECRET_BITS = 80
const MAX_SECRET_BITS = 1024
const WEAK_BITS = 112
const MAX_CODES = 20
const MIN_CODE = 8
/** The verification takes such a text for a code of an app. */
const APP_CODE = /^\d{6,8}$/

const MEMBERS = ['userId', 'totp', 'backupCodes']
const TOTP_MEMBERS = ['secret', 'algorithm', 'digits', 'periodSeconds', 'enrolledAt']

/** Reads the factors of one user. @param isGuessable whether codes of so many digits are within the limits. */
export function readFactors(
  given: ImportedFactors,
  now: number,
  isGuessable: (digits: number) => boolean,
): ReadFactors {
  const { userId, totp, backupCodes } = given
  if (typeof userId !== 'string' || userId === '' || userId.length > 300)
    return { fault: 'user_id' }
  if (!userId.isWellFormed() || userId.includes('\0')) return { fault: 'user_id' }
  // A misspelt period would be imported as 30 seconds, and no code of the app would be right.
  if (!hasOnly(given, MEMBERS)) return { fault: 'member' }
  const codes = readCodes(backupCodes ?? [])
  if (codes === null) return { fault: 'backup_codes' }
  if (totp === undefined || totp === null) {
    return codes.length === 0 ? { fault: 'no_factor' } : { totp: null, codes }
  }
  if (typeof totp !== 'object' || !hasOnly(totp, TOTP_MEMBERS)) return { fault: 'member' }
  const read = readTotp(totp, now, isGuessable)
  return typeof read === 'string' ? { fault: read } : { totp: read, codes }
}

function readTotp(
  given: NonNullable<ImportedFactors['totp']>,
  now: number,
  isGuessable: (digits: number) => boolean,
): ReadTotp | ImportFault {
  const { digits = 6, periodSeconds = 30, enrolledAt = now } = given
  const secret = readSecret(given.secret)
  if (secret === null) return 'secret'
  const { algorithm: named = 'SHA1' } = given
  if (typeof named !== 'string') return 'algorithm'
  const name = named.toUpperCase().replaceAll(/[^A-Z0-9]|^HMAC/g, '')
  const algorithm = ALGORITHMS.find((each) => each === name)
  if (algorithm === undefined) return 'algorithm'
  if (!Number.isSafeInteger(digits) || digits < 6 || digits > 8) return 'digits'
  if (isGuessable(digits)) return 'guessable'
  const isPeriod =
    Number.isSafeInteger(periodSeconds) && periodSeconds >= 15 && periodSeconds <= 120
  if (!isPeriod) return 'period'
  const at = Number.isSafeInteger(enrolledAt) && enrolledAt >= 0 ? Math.min(enrolledAt, now) : now
  const isWeak = bitsOf(secret) < WEAK_BITS
  return { secret, form: { algorithm, digits, periodSeconds }, enrolledAt: at, isWeak }
}

function hasOnly(given: object, names: readonly string[]): boolean {
  return Object.keys(given).every((name) => names.includes(name))
}

function readSecret(text: unknown): string | null {
  if (typeof text !== 'string' || text.length > 4096) return null
  const secret = text.replaceAll(/[\s-]/g, '').replace(/=+$/, '').toUpperCase()
  const bits = bitsOf(secret)
  if (!/^[A-Z2-7]+$/.test(secret) || bits < MIN_SECRET_BITS || bits > MAX_SECRET_BITS) return null
  return secret
}

/** Base32 has five bits in a character; an incomplete byte at the end is padding. */
function bitsOf(secret: string): number {
  return Math.floor((secret.length * 5) / 8) * 8
}

function readCodes(given: readonly string[]): readonly string[] | null {
  if (!Array.isArray(given) || given.length > MAX_CODES) return null
  const codes = given.map((code: unknown) =>
    typeof code === 'string' ? parseImportedCode(code) : '',
  )
  const isUsable = codes.every((code) => code.length >= MIN_CODE && !APP_CODE.test(code))
  return isUsable && new Set(codes).size === codes.length ? codes : null
}
