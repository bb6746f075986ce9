/** The account record: everything that is stored about one user. @see docs/spec/mfa-account.md */
import { takeRandom } from '@parapet/kit'
import { NO_FAILURES, type AttemptHistory } from '../limits/wrong-codes.ts'

/** The authenticator app of an account. */
export interface TotpFactor {
  /** Base32. */
  readonly secret: string
  readonly enrolledAt: number
  /** The newest time step that was used. This step and all earlier ones are refused. */
  readonly lastStep: number
  /** The newest used steps, at most eight. Absent in records of older versions. */
  readonly recentSteps?: readonly number[]
  /** Steps by which the user's clock was ahead of ours at the last use; `null` before the first. */
  readonly drift: number | null
  /** How its codes are computed, for an app of another system; absent: as the options say. */
  readonly form?: TotpForm
}

/** How codes of an authenticator app are computed. */
export interface TotpForm {
  readonly algorithm: 'SHA1' | 'SHA256' | 'SHA512'
  /** 6 to 8. */
  readonly digits: number
  /** The length of a step, 15 to 120. */
  readonly periodSeconds: number
}

/** The unused backup codes of an account. */
export interface BackupCodeSet {
  /** Base64url of 16 bytes. One salt for the set, so that one scrypt run checks all its codes. */
  readonly salt: string
  /** Base64url of 32 bytes for each unused code. */
  readonly hashes: readonly string[]
  readonly createdAt: number
  /** The codes are of another system: hashed in lower case, without a check character. */
  readonly isImported?: true
}

/** A passkey as it is stored. */
export interface StoredPasskey {
  /** The credential id, base64url. */
  readonly id: string
  /** COSE key, base64url. */
  readonly publicKey: string
  /** The highest signature counter seen; 0 for authenticators that do not count. */
  readonly counter: number
  readonly transports: readonly string[]
  /** A name that the user chose. */
  readonly name: string
  readonly createdAt: number
  readonly lastUsedAt: number
  /** Whether the passkey may be copied to other devices of the user. */
  readonly backupEligible: boolean
  /** Whether it has been copied. */
  readonly backedUp: boolean
}

/** A device that may skip the second factor until it expires. */
export interface RememberedDevice {
  readonly id: string
  /** SHA-256 of the secret in the device's cookie, base64url. */
  readonly secretHash: string
  /** SHA-256 of the user agent without its digits, base64url. */
  readonly agentHash: string
  /** Shown to the user: the user agent at the time. */
  readonly label: string
  readonly createdAt: number
  readonly expiresAt: number
}

/** Everything about one user. The record is sealed as a whole and replaced as a whole. */
export interface Account {
  readonly v: 1
  /** Grows with every change of factors. Proofs and tickets of an earlier epoch are refused. */
  readonly epoch: number
  /** The WebAuthn `user.id`: 32 random bytes, base64url. */
  readonly userHandle: string
  readonly totp: TotpFactor | null
  readonly totpThrottle: AttemptHistory
  readonly backupCodes: BackupCodeSet | null
  readonly backupThrottle: AttemptHistory
  readonly passkeys: readonly StoredPasskey[]
  readonly devices: readonly RememberedDevice[]
  /** When a role first required a factor of this user. */
  readonly graceSince: number | null
}

/** The account of a user with no stored record. */
export function createAccount(): Account {
  return {
    v: 1,
    epoch: 0,
    userHandle: takeRandom(32).toString('base64url'),
    totp: null,
    totpThrottle: NO_FAILURES,
    backupCodes: null,
    backupThrottle: NO_FAILURES,
    passkeys: [],
    devices: [],
    graceSince: null,
  }
}

/** Whether the user has a second factor. Backup codes only replace a factor and do not count. */
export function hasFactor(account: Account): boolean {
  return account.totp !== null || account.passkeys.length > 0
}

/**
 * Returns the account with changed factors: in a new epoch and without remembered devices, because
 * an attacker who held the old factor may have had a device remembered. Backup codes go with the last
 * factor, which they replace.
 */
export function changeFactors(account: Account, changes: Partial<Account>): Account {
  const next = { ...account, devices: [], ...changes, epoch: account.epoch + 1 }
  return hasFactor(next) ? next : { ...next, backupCodes: null }
}
