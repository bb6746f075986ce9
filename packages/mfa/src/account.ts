/** What is kept of one user, and its one sealed form. */
import { takeRandom, type Cipher, type CipherContext } from '@parapet/kit'
import type { BackupCodeSet } from './backup-codes.ts'
import { PARAPET_MFA_ACCOUNT_UNREADABLE } from './errors.ts'
import { FRESH, type ThrottleState } from './throttle.ts'
import type { TotpFactor } from './totp.ts'

/** One passkey. */
export interface Passkey {
  /** The credential id, base64url. */
  readonly id: string
  /** COSE key, base64url. */
  readonly publicKey: string
  /** The highest signature counter seen; authenticators that do not count stay at 0. */
  readonly counter: number
  readonly transports: readonly string[]
  /** A name of the user's choice. */
  readonly name: string
  readonly createdAt: number
  readonly lastUsedAt: number
  /** Whether it may be, and is, copied to other devices of its user. */
  readonly backupEligible: boolean
  readonly backedUp: boolean
}

/** One device that may skip the second factor for a while. */
export interface RememberedDevice {
  readonly id: string
  /** SHA-256 of the secret in the device's cookie, base64url. */
  readonly secretHash: string
  /** SHA-256 of its user agent without version numbers, base64url. */
  readonly agentHash: string
  /** What the user knows it by. */
  readonly label: string
  readonly createdAt: number
  readonly expiresAt: number
}

/** Everything about one user. It is sealed as a whole: nobody reads or changes a part of it. */
export interface Account {
  readonly v: 1
  /** Grows with every factor that comes or goes: proofs and tickets of an older epoch are worth nothing. */
  readonly epoch: number
  /** What authenticators know the user by: 32 random bytes, base64url. */
  readonly userHandle: string
  readonly totp: TotpFactor | null
  readonly totpThrottle: ThrottleState
  readonly backupCodes: BackupCodeSet | null
  readonly backupThrottle: ThrottleState
  readonly passkeys: readonly Passkey[]
  readonly devices: readonly RememberedDevice[]
  /** When a role first asked this user for a factor. */
  readonly graceSince: number | null
}

/** The account of a user of whom nothing is stored yet. */
export function createAccount(): Account {
  return {
    v: 1,
    epoch: 0,
    userHandle: takeRandom(32).toString('base64url'),
    totp: null,
    totpThrottle: FRESH,
    backupCodes: null,
    backupThrottle: FRESH,
    passkeys: [],
    devices: [],
    graceSince: null,
  }
}

/** Whether there is a second factor. Backup codes alone are none: they only stand in for one. */
export function hasFactor(account: Account): boolean {
  return account.totp !== null || account.passkeys.length > 0
}

/**
 * An account whose factors change: a new epoch, and no device is remembered any longer, for whoever
 * had it remembered may have held what is gone now.
 */
export function changeFactors(account: Account, changes: Partial<Account>): Account {
  return { ...account, devices: [], ...changes, epoch: account.epoch + 1 }
}

/** Seals an account for its user. @see docs/spec/mfa-account.md */
export function sealAccount(cipher: Cipher, userId: string, account: Account): Promise<string> {
  return cipher.seal(JSON.stringify(account), contextOf(userId))
}

/** Opens what was sealed for this user. @throws PARAPET_MFA_ACCOUNT_UNREADABLE */
export async function openAccount(
  cipher: Cipher,
  userId: string,
  sealed: string,
): Promise<Account> {
  let account: Account | undefined
  try {
    account = JSON.parse((await cipher.open(sealed, contextOf(userId))).toString()) as Account
  } catch (error) {
    // A cipher whose keys are out of reach for now says so itself.
    if ((error as { statusCode?: unknown }).statusCode === 503) throw error
    throw Object.assign(new PARAPET_MFA_ACCOUNT_UNREADABLE(), { cause: error })
  }
  // What opens was written by this code; another version of it may have another form.
  if (account.v !== 1) throw new PARAPET_MFA_ACCOUNT_UNREADABLE()
  return account
}

function contextOf(userId: string): CipherContext {
  return ['mfa', 'account', userId]
}
