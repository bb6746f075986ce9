/** The service at `app.mfa`: the only entry to all factors, for routes and for the application. */
import type { Resealed } from '@parapet/kit'
import { hasFactor, type Account } from '../account/account.ts'
import type { BackupCodes } from '../backup-codes/backup-codes.ts'
import type { Devices } from '../devices/remembered-devices.ts'
import { PARAPET_MFA_INVALID_ARGUMENT, PARAPET_MFA_PASSKEY_REFUSED } from '../errors.ts'
import type { CodeVerified } from '../factors/code-attempt.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import type { ImportFactors } from './import-factors.ts'
import { viewPasskey, type Passkey } from '../passkeys/passkey.ts'
import type { Passkeys } from '../passkeys/passkeys.ts'
import type { MfaProof } from '../proofs/proof.ts'
import type { TotpEnrolment, TotpEnrolments } from '../totp/totp-enrolment.ts'
import type { TotpVerification } from '../totp/totp-verification.ts'
import { requireText } from './arguments.ts'
import { assure } from './assure.ts'
import type { Resets } from './reset-and-recovery.ts'
import { createSecondFactor, type SecondFactor } from './second-factor.ts'

/** What a user has enrolled, without secrets. */
export interface MfaStatus {
  readonly totp: { readonly enrolledAt: number; readonly driftSteps: number | null } | null
  readonly backupCodesLeft: number
  readonly passkeys: readonly Passkey[]
  /** Whether the user has a second factor: an authenticator app or a passkey. */
  readonly enrolled: boolean
  /** Whether the authenticator app is disabled after too many wrong codes in a row. */
  readonly totpLocked: boolean
}

/** Authenticator apps, at `app.mfa.totp`. */
export interface MfaTotp {
  /** Creates a secret, its QR code and backup codes. An enrolled app keeps working meanwhile. */
  readonly begin: (user: { readonly id: string; readonly name: string }) => Promise<TotpEnrolment>
  /**
   * Replaces the secret and the backup codes in one write. The code is used up by it.
   *
   * @throws PARAPET_MFA_TICKET_REFUSED, PARAPET_MFA_CODE_REFUSED, PARAPET_MFA_THROTTLED
   */
  readonly confirm: (
    userId: string,
    ticket: string,
    code: string,
    origin?: Origin,
  ) => Promise<CodeVerified>
  /** @throws PARAPET_MFA_NOT_FOUND */
  readonly remove: (userId: string, origin?: Origin) => Promise<void>
}

/** The service at `app.mfa`. */
export interface Mfa extends Resets {
  readonly totp: MfaTotp
  readonly backupCodes: {
    /** Replaces all backup codes. @throws PARAPET_MFA_NOT_FOUND the user has no factor. */
    readonly replace: (userId: string, origin?: Origin) => Promise<readonly string[]>
  }
  /**
   * Verifies a code of the authenticator app, or a backup code.
   *
   * @throws PARAPET_MFA_CODE_REFUSED, PARAPET_MFA_CODE_USED, PARAPET_MFA_CODE_MISTYPED,
   *   PARAPET_MFA_THROTTLED, PARAPET_MFA_LOCKED
   */
  readonly verify: (userId: string, code: string, origin?: Origin) => Promise<CodeVerified>
  /** @throws PARAPET_MFA_INVALID_ARGUMENT the option `passkeys` is not set. */
  readonly passkeys: Passkeys
  readonly devices: Devices
  /** The second step of a login, for the option of the login plugin. It needs no other wire. */
  readonly secondFactor: SecondFactor
  /**
   * Lets a session use a proof, for as long as the rules of routes accept its age. Call it where the
   * session begins, and from the option `elevate` with the id of the renewed session.
   *
   * @throws PARAPET_MFA_INVALID_ARGUMENT the proof was not created by this plugin, or no session id.
   * @throws PARAPET_MFA_STEP_UP_REQUIRED the user's factors have changed since the proof was created.
   */
  assure(proof: MfaProof, sessionId: string): Promise<void>
  status(userId: string): Promise<MfaStatus>
  /** Imports authenticator apps and backup codes of another system. Notifies nobody. */
  readonly importFactors: ImportFactors
  /** Erases everything about a user, whose password is enough from then on. */
  forget(userId: string): Promise<void>
  /**
   * Seals all accounts by the primary key. Call it after the deployment of `new,old`; when `unreadable` is 0,
   * the old key can be removed. Accounts that are read or changed are sealed again anyway.
   *
   * @throws PARAPET_MFA_INVALID_ARGUMENT accounts are in a storage that cannot list them.
   * @throws PARAPET_MFA_BUSY the storage failed; call it again.
   */
  resealAll(): Promise<Resealed>
  /** The probability, computed at boot, that an attacker guesses a code within 30 days. */
  readonly guessProbability: number
}

/** The parts of the service. */
export interface MfaParts {
  readonly context: FactorContext
  readonly totpEnrolments: TotpEnrolments
  readonly totpVerification: TotpVerification
  readonly backupCodes: BackupCodes
  readonly passkeys: Passkeys | undefined
  readonly devices: Devices
  readonly resets: Resets
  readonly importFactors: ImportFactors
  readonly deviceMaxAgeSeconds: number
  readonly guessProbability: number
}

/** Creates the service. */
export function createMfa(parts: MfaParts): Mfa {
  const { context, totpEnrolments, totpVerification, backupCodes } = parts
  const verify: Mfa['verify'] = async (userId, code, origin = {}) => {
    requireText('code', code)
    const factor = totpVerification.isCode(code) ? totpVerification : backupCodes
    return factor.verify(userId, code, origin)
  }
  const requirePasskeys = (): Passkeys => {
    if (parts.passkeys !== undefined) return parts.passkeys
    throw new PARAPET_MFA_INVALID_ARGUMENT('app.mfa.passkeys needs the option "passkeys", got none')
  }
  return {
    totp: totpOf(totpEnrolments),
    backupCodes: { replace: (userId, origin = {}) => backupCodes.replace(userId, origin) },
    verify,
    get passkeys() {
      return requirePasskeys()
    },
    devices: parts.devices,
    secondFactor: createSecondFactor({
      factors: context,
      devices: parts.devices,
      deviceMaxAgeSeconds: parts.deviceMaxAgeSeconds,
      assure: (proof, sessionId) => assure(context, proof, sessionId),
      verifyCode: async (...attempt) => (await verify(...attempt)).proof,
      verifyPasskey: async (...attempt) => {
        // The client sent it although it was not offered.
        if (parts.passkeys === undefined) throw new PARAPET_MFA_PASSKEY_REFUSED()
        return parts.passkeys.verify(...attempt)
      },
      reset: (...given) => parts.resets.reset(...given),
      passkeyOptions: async (userId) => requirePasskeys().assertionOptions(userId),
    }),
    ...parts.resets,
    importFactors: parts.importFactors,
    assure: (proof, sessionId) => assure(context, proof, sessionId),
    status: async (userId) => statusOf(await context.accounts.read(userId), context),
    async forget(userId) {
      await context.accounts.remove(userId)
      await context.sessionProofs.clear(userId)
      context.emit('mfa.forgotten', userId, {}, {})
    },
    resealAll: () => context.accounts.resealAll(),
    guessProbability: parts.guessProbability,
  }
}

function totpOf(enrolments: TotpEnrolments): MfaTotp {
  return {
    async begin(user) {
      requireText('name', user.name)
      return enrolments.begin(user)
    },
    async confirm(userId, ticket, code, origin = {}) {
      requireText('code', code)
      return enrolments.confirm(userId, ticket, code, origin)
    },
    remove: (userId, origin = {}) => enrolments.remove(userId, origin),
  }
}

function statusOf(account: Account, { limits }: FactorContext): MfaStatus {
  const { totp, backupCodes, totpThrottle } = account
  return {
    totp: totp && { enrolledAt: totp.enrolledAt, driftSteps: totp.drift },
    backupCodesLeft: backupCodes?.hashes.length ?? 0,
    passkeys: account.passkeys.map(viewPasskey),
    enrolled: hasFactor(account),
    totpLocked: totpThrottle.failures >= limits.hardStop,
  }
}
