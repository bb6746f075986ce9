/**
 * Which passwords are accepted: by length, and not if they are known, trivial or about the account. There
 * are no rules of composition and passwords do not expire.
 *
 * @see NIST SP 800-63B-4, section 3.1.1.2
 */
import { createHash } from 'node:crypto'
import { withDeadline } from '@parapet/kit'
import { PARAPET_SESSIONS_INVALID_ARGUMENT } from '../errors.ts'
import { describeValue } from '../users/describe-value.ts'
import { contextWords, isAbout, isTrivial } from './trivial-password.ts'
import { lengthOf } from '../passwords/typed-password.ts'

/** Why a password is refused. */
export type PasswordFault =
  | 'too_short'
  | 'too_long'
  | 'malformed'
  | 'common'
  | 'trivial'
  | 'context'
  | 'breached'

/** The result of a check. */
export interface PasswordVerdict {
  readonly accepted: boolean
  /** `[]` for an accepted password. */
  readonly faults: readonly PasswordFault[]
  /** The hint of the option `strength`, 0 to 4. It refuses nothing. */
  readonly strength?: number
  /** Whether the option `breachedRange` did not answer in time. */
  readonly breachUnknown: boolean
}

/** What is known about the account. */
export interface PasswordContext {
  /** The e-mail address, the name and the like. */
  readonly words?: readonly string[]
}

/** See {@link createPasswordPolicy}. */
export interface PasswordPolicy {
  readonly minLength: number
  check(password: string, context?: PasswordContext): Promise<PasswordVerdict>
}

/**
 * Returns the lines `SUFFIX:COUNT` of a range of SHA-1 hashes, in upper-case hexadecimal. Only the first five
 * of 40 digits leave this process. @param prefix the five digits. @param signal aborted at the deadline.
 */
export type BreachedRange = (prefix: string, signal: AbortSignal) => Promise<string>

/** Estimates the strength of a password, 0 to 4. @param words what an attacker knows of the account. */
export type StrengthEstimate = (
  password: string,
  words: readonly string[],
) => number | Promise<number>

/** The options of {@link createPasswordPolicy}. */
export interface PasswordPolicyOptions {
  /**
   * In characters (code points), 8 to 64. NIST asks for 15 where a password alone is enough, and 8 where every
   * login has a second factor. @default 15
   */
  readonly minLength?: number
  /** In characters, 64 to 4096. @default 1024, the limit of the routes */
  readonly maxLength?: number
  /** What every user knows, such as the names of the service and of the company. @default [] */
  readonly words?: readonly string[]
  /** Looks up breached passwords, such as `fetchBreachedRange`. @default the embedded filter only */
  readonly breachedRange?: BreachedRange
  /** How long the lookup may take, 50 to 10 000 ms. @default 1000 */
  readonly breachDeadlineMs?: number
  /** Whether a password is accepted while the lookup fails. @default 'accept' */
  readonly whenBreachUnknown?: 'accept' | 'refuse'
  /** A hint for the user, such as `createZxcvbnStrength`. @default none */
  readonly strength?: StrengthEstimate
}

/**
 * Creates a policy. The embedded filter has the 100 000 most common passwords in 160 KB; it takes one
 * of 4096 other passwords for a common one.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT a number is out of range.
 */
export function createPasswordPolicy(options: PasswordPolicyOptions = {}): PasswordPolicy {
  const { minLength = 15, maxLength = 1024, breachDeadlineMs = 1000 } = options
  requireRange('minLength', minLength, 8, 64)
  requireRange('maxLength', maxLength, 64, 4096)
  requireRange('breachDeadlineMs', breachDeadlineMs, 50, 10_000)
  const own = contextWords(options.words ?? [])
  return {
    minLength,
    async check(password, { words = [] } = {}) {
      const text = password.normalize('NFKC')
      const malformed = formFault(text, minLength, maxLength)
      if (malformed !== null) return refused([malformed])
      const faults = await knownFaults(text, [...own, ...contextWords(words)])
      const breach =
        faults.length > 0 ? false : await isBreached(password, options, breachDeadlineMs)
      const breachUnknown = breach === null
      if (breach === true || (breachUnknown && options.whenBreachUnknown === 'refuse')) {
        faults.push('breached')
      }
      const strength = await strengthOf(options, password, words)
      return { accepted: faults.length === 0, faults, breachUnknown, ...strength }
    },
  }
}

function refused(faults: readonly PasswordFault[]): PasswordVerdict {
  return { accepted: false, faults, breachUnknown: false }
}

function formFault(text: string, min: number, max: number): PasswordFault | null {
  // Lone surrogates become the same character in a hash: passwords that differ would be equal.
  if (!text.isWellFormed()) return 'malformed'
  const length = lengthOf(text)
  if (length < min) return 'too_short'
  return length > max ? 'too_long' : null
}

async function knownFaults(text: string, words: readonly string[]): Promise<PasswordFault[]> {
  // Loaded with the first password, because most processes that import us check none.
  const { isCommonPassword } = await import('./common-passwords.ts')
  const folded = text.toLowerCase()
  const faults: PasswordFault[] = []
  if (isCommonPassword(folded)) faults.push('common')
  if (isTrivial(folded, isCommonPassword)) faults.push('trivial')
  if (isAbout(folded, words, isCommonPassword)) faults.push('context')
  return faults
}

/** @returns `null`: the lookup failed, or did not answer in time. */
async function isBreached(
  password: string,
  { breachedRange }: PasswordPolicyOptions,
  deadlineMs: number,
): Promise<boolean | null> {
  if (breachedRange === undefined) return false
  // SHA-1 is what the service is keyed by; nothing is protected by it.
  const digest = createHash('sha1').update(password).digest('hex').toUpperCase()
  const [prefix, suffix] = [digest.slice(0, 5), digest.slice(5)]
  const abort = new AbortController()
  try {
    const answer = Promise.resolve().then(() => breachedRange(prefix, abort.signal))
    const lines = await withDeadline(answer, deadlineMs, () => new Error('no answer in time'))
    // Padding lines have a count of 0.
    return lines.split('\n').some((line) => {
      const [found, count] = line.trim().split(':')
      return found?.toUpperCase() === suffix && Number(count ?? 1) > 0
    })
  } catch {
    return null
  } finally {
    abort.abort()
  }
}

async function strengthOf(
  { strength, words = [] }: PasswordPolicyOptions,
  password: string,
  known: readonly string[],
): Promise<{ readonly strength?: number }> {
  if (strength === undefined) return {}
  try {
    return { strength: await strength(password, [...words, ...known]) }
  } catch {
    // A hint that fails must not refuse a password.
    return {}
  }
}

function requireRange(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  const expected = `an integer from ${min} to ${max}`
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(name, expected, describeValue(value))
}
