/** Enrols and removes authenticator apps. */
import { changeFactors, hasFactor, type BackupCodeSet } from '../account/account.ts'
import {
  PARAPET_MFA_CODE_REFUSED,
  PARAPET_MFA_NOT_FOUND,
  PARAPET_MFA_TICKET_REFUSED,
} from '../errors.ts'
import { failed, type Outcome } from '../factors/attempt.ts'
import type { CodeVerified } from '../factors/code-attempt.ts'
import {
  issueProof,
  reportChange,
  revokeProofs,
  type FactorContext,
  type Origin,
} from '../factors/context.ts'
import { normalizeCode } from '../factors/typed-code.ts'
import { NO_FAILURES } from '../limits/wrong-codes.ts'
import type { OneTimeTokens } from '../tokens/one-time-token.ts'
import type { QrCode } from './qr-code.ts'
import { createTotpSecret, decideTotp, totpUri, type TotpSettings } from './totp-code.ts'

/** What a user is shown, once, to enrol an authenticator app. */
export interface TotpEnrolment {
  /** Pass it to `confirm` with the first code. It works once and expires after ten minutes. */
  readonly ticket: string
  /** Base32, for users who cannot scan the QR code. */
  readonly secret: string
  readonly uri: string
  readonly qr: QrCode
  /** Valid from the confirmation on. The user should keep them on paper. */
  readonly backupCodes: readonly string[]
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** The value behind an enrolment ticket. */
export interface PendingTotp {
  readonly userId: string
  readonly secret: string
  readonly backupCodes: readonly string[]
  /** The account's epoch when the enrolment began; a ticket of an earlier epoch is refused. */
  readonly epoch: number
}

/** Creates the backup codes that come with an authenticator app. */
interface BackupCodeSource {
  readonly create: () => string[]
  readonly hash: (codes: readonly string[], createdAt: number) => Promise<BackupCodeSet>
}

/** The settings of enrolments. */
export interface TotpEnrolmentSettings {
  readonly issuer: string
  readonly totp: TotpSettings
  readonly backupCodes: BackupCodeSource
  readonly tickets: OneTimeTokens<PendingTotp>
  readonly ticketTtlMs: number
}

/** Enrols and removes authenticator apps. */
export class TotpEnrolments {
  readonly #context: FactorContext
  readonly #settings: TotpEnrolmentSettings

  constructor(context: FactorContext, settings: TotpEnrolmentSettings) {
    this.#context = context
    this.#settings = settings
  }

  /** Creates a secret and backup codes. The account does not change before the confirmation. */
  async begin({
    id,
    name,
  }: {
    readonly id: string
    readonly name: string
  }): Promise<TotpEnrolment> {
    const { issuer, totp, tickets, ticketTtlMs } = this.#settings
    const { epoch } = await this.#context.accounts.read(id)
    const secret = createTotpSecret()
    const backupCodes = this.#settings.backupCodes.create()
    const ticket = await tickets.issue({ userId: id, secret, backupCodes, epoch })
    const uri = totpUri(issuer, labelOf(name), secret, totp)
    const expiresAt = this.#context.now() + ticketTtlMs
    // Loaded by the first enrolment, because most processes enrol nobody for a long time.
    const { drawQr } = await import('./qr-code.ts')
    return { ticket, secret, uri, qr: drawQr(uri), backupCodes, expiresAt }
  }

  /**
   * Replaces the secret and the backup codes of the account in one write. A wrong code is not counted: it
   * guesses nothing, because the caller has been shown the secret, and it must make no other user of the
   * address wait.
   */
  async confirm(
    userId: string,
    ticket: string,
    code: string,
    origin: Origin,
  ): Promise<CodeVerified> {
    const outcome = await this.#confirm(userId, ticket, normalizeCode(code), origin)
    if (!outcome.ok) throw outcome.error
    return outcome.value
  }

  /** @throws PARAPET_MFA_NOT_FOUND */
  async remove(userId: string, origin: Origin): Promise<void> {
    const context = this.#context
    const removed = await context.accounts.update(userId, (account) =>
      account.totp === null
        ? { result: false }
        : { next: changeFactors(account, { totp: null, totpThrottle: NO_FAILURES }), result: true },
    )
    if (!removed) throw new PARAPET_MFA_NOT_FOUND()
    await revokeProofs(context, userId, ['totp'])
    reportChange(context, 'removed', userId, 'totp', origin)
  }

  async #confirm(
    userId: string,
    ticket: string,
    code: string,
    origin: Origin,
  ): Promise<Outcome<CodeVerified>> {
    const context = this.#context
    const { tickets, totp } = this.#settings
    const pending = await tickets.read(ticket)
    if (pending?.userId !== userId) return failed(new PARAPET_MFA_TICKET_REFUSED())
    const factor = { secret: pending.secret, lastStep: -1, recentSteps: [], drift: null }
    const verdict = decideTotp(factor, code, context.now(), totp)
    if (!verdict.accepted) {
      context.emit('mfa.failed', userId, { method: 'totp', reason: 'wrong', failures: 0 }, origin)
      return failed(new PARAPET_MFA_CODE_REFUSED())
    }
    // The ticket is redeemed only after a right code, so that a typing error does not end the
    // enrolment. Of concurrent confirmations with the right code, one gets the value.
    if ((await tickets.redeem(ticket)) === null) {
      context.emit('mfa.replayed', userId, { method: 'totp' }, origin)
      return failed(new PARAPET_MFA_TICKET_REFUSED())
    }
    const { step, drift } = verdict
    const value = await this.#activate(pending, step, drift, origin)
    return value === null ? failed(new PARAPET_MFA_TICKET_REFUSED()) : { ok: true, value }
  }

  /** @returns `null` if the account's factors have changed since the enrolment began. */
  async #activate(
    pending: PendingTotp,
    lastStep: number,
    drift: number,
    origin: Origin,
  ): Promise<CodeVerified | null> {
    const context = this.#context
    const { userId } = pending
    const enrolledAt = context.now()
    const backupCodes = await this.#settings.backupCodes.hash(pending.backupCodes, enrolledAt)
    const totp = { secret: pending.secret, enrolledAt, lastStep, drift }
    const fresh = { totp, totpThrottle: NO_FAILURES, backupCodes, backupThrottle: NO_FAILURES }
    const enrolled = await context.accounts.update(userId, (account) => {
      if (account.epoch !== pending.epoch) return { result: null }
      const next = changeFactors(account, fresh)
      return { next, result: { epoch: next.epoch, isFirst: !hasFactor(account) } }
    })
    if (enrolled === null) return null
    const { epoch, isFirst } = enrolled
    await revokeProofs(context, userId, ['totp', 'backup-code'])
    reportChange(context, 'enrolled', userId, 'totp', origin, isFirst)
    const proof = issueProof(context, { userId, method: 'totp', epoch }, origin, drift)
    return { proof, driftSteps: drift, backupCodesLeft: backupCodes.hashes.length }
  }
}

/** Room for the label in a QR code, in URI-encoded characters. */
const MAX_LABEL = 768

/** The account name as an app shows it, cut to what the QR code can hold. */
function labelOf(name: string): string {
  let room = MAX_LABEL
  let label = ''
  for (const char of name.toWellFormed()) {
    room -= encodeURIComponent(char).length
    if (room < 0) break
    label += char
  }
  return label
}
