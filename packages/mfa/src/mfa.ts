/** The whole of the core behind one interface: what is at `app.mfa`. */
import { hasFactor, type Account, type Passkey } from './account.ts'
import type { CodeVerified } from './attempts.ts'
import type { Codes } from './codes.ts'
import type { Core, Origin } from './core.ts'
import type { Devices } from './devices.ts'
import { PARAPET_MFA_INVALID_ARGUMENT, PARAPET_MFA_STEP_UP_REQUIRED } from './errors.ts'
import { requireText } from './require-text.ts'
import type { Passkeys } from './passkeys.ts'
import { requireProof, type MfaProof } from './proof.ts'
import type { Resets } from './resets.ts'
import type { TotpEnrolment } from './totp-proofs.ts'

/** What a user has, and nothing secret of it. */
export interface MfaStatus {
  readonly totp: { readonly enrolledAt: number; readonly driftSteps: number | null } | null
  readonly backupCodesLeft: number
  readonly passkeys: readonly Omit<Passkey, 'publicKey'>[]
  /** Whether there is a second factor at all. */
  readonly enrolled: boolean
  /** Whether the authenticator app is disabled after too many wrong codes in a row. */
  readonly totpLocked: boolean
}

/** Authenticator apps, at `app.mfa.totp`. */
export interface MfaTotp {
  /** Makes a secret, a QR code and backup codes. What is enrolled goes on working. */
  readonly begin: (user: { readonly id: string; readonly name: string }) => Promise<TotpEnrolment>
  /**
   * Puts the new secret and the new backup codes in place, in one step. The code is spent by it.
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

/** What is at `app.mfa`. */
export interface Mfa extends Resets {
  readonly totp: MfaTotp
  readonly backupCodes: {
    /** Fresh backup codes in the place of all old ones. @throws PARAPET_MFA_NOT_FOUND no factor yet */
    readonly replace: (userId: string, origin?: Origin) => Promise<readonly string[]>
  }
  /**
   * Proves a code of the authenticator app, or a backup code.
   *
   * @throws PARAPET_MFA_CODE_REFUSED, PARAPET_MFA_CODE_USED, PARAPET_MFA_CODE_MISTYPED,
   *   PARAPET_MFA_THROTTLED, PARAPET_MFA_LOCKED
   */
  readonly verify: Codes['verify']
  /** @throws PARAPET_MFA_INVALID_ARGUMENT the option `passkeys` is not set. */
  readonly passkeys: Passkeys
  readonly devices: Devices
  /**
   * Lets a session use a proof, for as long as the routes ask. Call it where sessions begin.
   *
   * @throws PARAPET_MFA_INVALID_ARGUMENT not a proof of this plugin, or no session id.
   * @throws PARAPET_MFA_STEP_UP_REQUIRED the user's factors have changed since it was made.
   */
  assure(proof: MfaProof, sessionId: string): Promise<void>
  status(userId: string): Promise<MfaStatus>
  /** Erases everything about a user. */
  forget(userId: string): Promise<void>
  /** Odds, within 30 days, of guessing a code without the factor: what the boot has computed. */
  readonly guessProbability: number
}

/** The parts behind the interface. */
export interface MfaParts {
  readonly core: Core
  readonly codes: Codes
  readonly passkeys: Passkeys | undefined
  readonly devices: Devices
  readonly resets: Resets
  readonly guessProbability: number
}

/** Puts the parts behind one interface. */
export function createMfa(parts: MfaParts): Mfa {
  const { core, passkeys } = parts
  const { totp, backup, verify } = parts.codes
  return {
    totp: {
      async begin(user) {
        requireText('a name', user.name)
        return totp.begin(user)
      },
      async confirm(userId, ticket, code, origin = {}) {
        requireText('a code', code)
        return totp.confirm(userId, ticket, code, origin)
      },
      remove: (userId, origin = {}) => totp.remove(userId, origin),
    },
    backupCodes: { replace: (userId, origin = {}) => backup.replace(userId, origin) },
    async verify(userId, code, origin) {
      requireText('a code', code)
      return verify(userId, code, origin)
    },
    get passkeys() {
      if (passkeys === undefined) {
        throw new PARAPET_MFA_INVALID_ARGUMENT('app.mfa.passkeys', 'needs the option "passkeys"')
      }
      return passkeys
    },
    devices: parts.devices,
    ...parts.resets,
    async assure(proof, sessionId) {
      requireProof(proof)
      requireText('a session id', sessionId)
      const { userId, method, phishingResistant, provedAt, epoch } = proof
      // A session that is at its level stays there with one fresh factor (NIST SP 800-63B-4, 2.2.3).
      const shown = (await core.marks.find(userId, sessionId)).filter(
        (mark) => mark.method !== 'device',
      )
      const aal = Math.max(proof.aal, ...shown.map((mark) => mark.aal))
      await core.marks.set(userId, sessionId, { method, aal, phishingResistant, provedAt })
      // A change ends the epoch before it clears the marks: one written too late is seen here.
      if ((await core.accounts.read(userId)).epoch === epoch) return
      await core.marks.clear(userId, (mark) => mark.method === method && mark.provedAt === provedAt)
      throw new PARAPET_MFA_STEP_UP_REQUIRED()
    },
    status: async (userId) => statusOf(await core.accounts.read(userId), core),
    async forget(userId) {
      await core.accounts.remove(userId)
      await core.marks.clear(userId)
    },
    guessProbability: parts.guessProbability,
  }
}

function statusOf(account: Account, { throttle }: Core): MfaStatus {
  const { totp, backupCodes, totpThrottle } = account
  return {
    totp: totp && { enrolledAt: totp.enrolledAt, driftSteps: totp.drift },
    backupCodesLeft: backupCodes?.hashes.length ?? 0,
    passkeys: account.passkeys.map(({ publicKey: _publicKey, ...view }) => view),
    enrolled: hasFactor(account),
    totpLocked: totpThrottle.failures >= throttle.hardStop,
  }
}
