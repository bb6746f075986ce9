/** Proofs of a second factor, and the assurance level that follows from them. */
import type { Principal } from '@parapet/kit'
import { PARAPET_MFA_INVALID_ARGUMENT } from '../errors.ts'
import type { Method } from '../events.ts'

const kProof: unique symbol = Symbol('@parapet/mfa:proof')

/**
 * States that a user has just verified a second factor. Only this plugin creates one, after it has
 * checked the factor. Pass it to `app.mfa.assure` where the session begins.
 */
export interface MfaProof {
  readonly [kProof]: true
  readonly userId: string
  readonly method: Method
  /** Authenticator assurance level, computed. @see NIST SP 800-63B-4, section 2 */
  readonly aal: 1 | 2
  /** Whether the factor was bound to the site: true for passkeys. */
  readonly phishingResistant: boolean
  /** Every method the user has shown: this one and those of the login before it. @see RFC 8176 */
  readonly amr: readonly string[]
  /** Milliseconds since the Unix epoch. */
  readonly provedAt: number
  /** The {@link Account.epoch} in which it was created. */
  readonly epoch: number
  /** The session that showed it; absent for a proof before the session. */
  readonly sessionId?: string | undefined
}

/** What a user has shown, as the input of {@link createProof}. */
export interface Shown {
  readonly userId: string
  readonly method: Method
  readonly provedAt: number
  readonly epoch: number
  /** The methods of the login before. @see RFC 8176 */
  readonly before: readonly string[]
  /** Whether that login has proved two factors by itself. @default only if `before` says so */
  readonly isLoginTrusted?: boolean | undefined
  readonly sessionId?: string | undefined
  /** Flags of the passkey's response. */
  readonly passkey?: { readonly userVerified: boolean; readonly backupEligible: boolean }
}

/** The kind of factor behind each value of RFC 8176. */
const KINDS: ReadonlyMap<string, 'knowledge' | 'possession' | 'inherence'> = new Map([
  ...['pwd', 'pin', 'kba'].map((amr) => [amr, 'knowledge'] as const),
  // `email` is a link or code in a mailbox: no second kind beside a phone.
  ...['otp', 'hwk', 'swk', 'sms', 'tel', 'sc', 'pop', 'email'].map(
    (amr) => [amr, 'possession'] as const,
  ),
  ...['face', 'fpt', 'iris', 'retina', 'vbm'].map((amr) => [amr, 'inherence'] as const),
])
/** Values that describe a login without naming a factor. They do not raise the level. */
const CLAIMS = new Set(['mfa', 'mca', 'user', 'rba', 'geo', 'imp'])
/** A passkey that verified its user, in the form that {@link createProof} writes: `hwk user mfa`. */
const VERIFICATION = ['user', 'mfa']
const KEYS = ['hwk', 'swk']
/** Every proof created here. Copies and forged objects are not in it. */
const issued = new WeakSet<object>()

/** Creates a proof. The level is computed from the kinds of factors and the passkey's flags only. */
export function createProof(shown: Shown): MfaProof {
  const { userId, method, provedAt, epoch, before, passkey, sessionId } = shown
  const own =
    passkey === undefined
      ? ['otp']
      : [passkey.backupEligible ? 'swk' : 'hwk', ...(passkey.userVerified ? ['user', 'mfa'] : [])]
  const amr = [...new Set([...before, ...own])]
  const isMultiFactor = kindsOf(amr).size > 1 || shown.isLoginTrusted === true
  const proof = Object.freeze({
    [kProof]: true as const,
    userId,
    method,
    aal: isMultiFactor ? (2 as const) : (1 as const),
    phishingResistant: passkey !== undefined,
    amr: Object.freeze(isMultiFactor && !amr.includes('mfa') ? [...amr, 'mfa'] : amr),
    provedAt,
    epoch,
    ...(sessionId === undefined ? undefined : { sessionId }),
  })
  issued.add(proof)
  return proof
}

/**
 * The kinds of factors behind methods. An unknown value (for instance `oidc`) is a factor that only the
 * other login knows; all unknown values together count as one kind. The verification of the user by
 * a passkey, by a PIN or biometrics, is a factor besides the key.
 */
function kindsOf(amr: readonly string[]): ReadonlySet<string> {
  const kinds = new Set<string>(
    amr.filter((value) => !CLAIMS.has(value)).map((value) => KINDS.get(value) ?? 'elsewhere'),
  )
  const hasKey = KEYS.some((value) => amr.includes(value))
  if (hasKey && VERIFICATION.every((value) => amr.includes(value))) kinds.add('verification')
  return kinds
}

/** The methods of the caller's login. A login that does not report them is taken as a password. */
export function loginMethods(principal: Principal | null): readonly string[] {
  return principal === null ? [] : (principal.amr ?? ['pwd'])
}

/** @throws PARAPET_MFA_INVALID_ARGUMENT the value was not created by {@link createProof}. */
export function requireProof(value: MfaProof): void {
  if (typeof value === 'object' && value !== null && issued.has(value)) return
  const got = value === null ? 'null' : typeof value === 'object' ? 'a copy' : typeof value
  throw new PARAPET_MFA_INVALID_ARGUMENT(
    `the proof must be the object that this plugin created in this process, got ${got}`,
  )
}
