/** The service at `app.mfa`: the only entry to all factors, for routes and for the application. */
import { hasFactor, type Account, type Passkey } from '../account/account.ts'
import type { BackupCodes } from '../backup-codes/backup-codes.ts'
import type { Devices } from '../devices/remembered-devices.ts'
import { PARAPET_MFA_INVALID_ARGUMENT, PARAPET_MFA_STEP_UP_REQUIRED } from '../errors.ts'
import type { CodeVerified } from '../factors/code-attempt.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import type { Passkeys } from '../passkeys/passkeys.ts'
import { requireProof, type MfaProof } from '../proofs/proof.ts'
import type { TotpEnrolment, TotpEnrolments } from '../totp/totp-enrolment.ts'
import type { TotpVerification } from '../totp/totp-verification.ts'
import { requireText } from './arguments.ts'
import type { Resets } from './reset-and-recovery.ts'

/** What a user has enrolled, without secrets. */
export interface MfaStatus {
  readonly totp: { readonly enrolledAt: number; readonly driftSteps: number | null } | null
  readonly backupCodesLeft: number
  readonly passkeys: readonly Omit<Passkey, 'publicKey'>[]
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
  /**
   * Lets a session use a proof, for as long as the rules of routes accept its age. Call it where the
   * session begins.
   *
   * @throws PARAPET_MFA_INVALID_ARGUMENT the proof was not created by this plugin, or no session id.
   * @throws PARAPET_MFA_STEP_UP_REQUIRED the user's factors have changed since the proof was created.
   */
  assure(proof: MfaProof, sessionId: string): Promise<void>
  status(userId: string): Promise<MfaStatus>
  /** Erases everything about a user. */
  forget(userId: string): Promise<void>
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
  readonly guessProbability: number
}

/** Creates the service. */
export function createMfa(parts: MfaParts): Mfa {
  const { context, totpEnrolments, totpVerification, backupCodes, passkeys } = parts
  return {
    totp: totpOf(totpEnrolments),
    backupCodes: { replace: (userId, origin = {}) => backupCodes.replace(userId, origin) },
    async verify(userId, code, origin = {}) {
      requireText('code', code)
      const factor = totpVerification.isCode(code) ? totpVerification : backupCodes
      return factor.verify(userId, code, origin)
    },
    get passkeys() {
      if (passkeys !== undefined) return passkeys
      throw new PARAPET_MFA_INVALID_ARGUMENT(
        'app.mfa.passkeys needs the option "passkeys", got none',
      )
    },
    devices: parts.devices,
    ...parts.resets,
    assure: (proof, sessionId) => assure(context, proof, sessionId),
    status: async (userId) => statusOf(await context.accounts.read(userId), context),
    async forget(userId) {
      await context.accounts.remove(userId)
      await context.sessionProofs.clear(userId)
    },
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

async function assure(
  { accounts, sessionProofs }: FactorContext,
  proof: MfaProof,
  sessionId: string,
): Promise<void> {
  requireProof(proof)
  requireText('session id', sessionId)
  const { userId, method, phishingResistant, provedAt, epoch } = proof
  // A session keeps the level it has reached, renewed by one fresh factor (NIST SP 800-63B-4, 2.2.3).
  const earlier = (await sessionProofs.find(userId, sessionId)).filter(
    (each) => each.method !== 'device',
  )
  const aal = Math.max(proof.aal, ...earlier.map((each) => each.aal))
  await sessionProofs.set(userId, sessionId, { method, aal, phishingResistant, provedAt })
  // A change of factors starts a new epoch before it clears the proofs of sessions. A proof that was
  // written after that clearing is therefore found here.
  if ((await accounts.read(userId)).epoch === epoch) return
  await sessionProofs.clear(userId, (each) => each.method === method && each.provedAt === provedAt)
  throw new PARAPET_MFA_STEP_UP_REQUIRED()
}

function statusOf(account: Account, { limits }: FactorContext): MfaStatus {
  const { totp, backupCodes, totpThrottle } = account
  return {
    totp: totp && { enrolledAt: totp.enrolledAt, driftSteps: totp.drift },
    backupCodesLeft: backupCodes?.hashes.length ?? 0,
    passkeys: account.passkeys.map(({ publicKey: _publicKey, ...view }) => view),
    enrolled: hasFactor(account),
    totpLocked: totpThrottle.failures >= limits.hardStop,
  }
}
