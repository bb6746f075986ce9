/** Enrolling an authenticator app, and proving its codes. */
import { changeFactors, type Account } from './account.ts'
import type { Change } from './accounts.ts'
import { createBackupCodes, hashBackupCodes } from './backup-codes.ts'
import { limitOf, tellRefused, type CodeVerified, type Refused } from './attempts.ts'
import {
  endWhatItProved,
  failed,
  prove,
  underGate,
  type Core,
  type Origin,
  type Outcome,
} from './core.ts'
import {
  PARAPET_MFA_CODE_REFUSED,
  PARAPET_MFA_CODE_USED,
  PARAPET_MFA_NOT_FOUND,
  PARAPET_MFA_TICKET_REFUSED,
} from './errors.ts'
import type { OneTime } from './one-time.ts'
import { drawQr, type QrCode } from './qr.ts'
import { countFailure, countSuccess, FRESH } from './throttle.ts'
import {
  createTotpSecret,
  decideTotp,
  totpUri,
  type TotpFactor,
  type TotpSettings,
} from './totp.ts'

/** What a user is shown, once, to enrol an authenticator app. */
export interface TotpEnrolment {
  /** Hand it back with the first code. Works once, and ends after ten minutes. */
  readonly ticket: string
  /** Base32, for whoever cannot scan. */
  readonly secret: string
  readonly uri: string
  readonly qr: QrCode
  /** To be kept on paper; they count from the confirmation on. */
  readonly backupCodes: readonly string[]
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** What waits behind an enrolment ticket. */
export interface PendingTotp {
  readonly userId: string
  readonly secret: string
  readonly backupCodes: readonly string[]
  /** The epoch it was begun in: whatever changed the account since has ended it. */
  readonly epoch: number
}

/** What codes are made and checked with. */
export interface TotpProofSettings {
  readonly issuer: string
  readonly totp: TotpSettings
  readonly backupCodes: number
  readonly tickets: OneTime<PendingTotp>
  readonly ticketTtlMs: number
}

type Decision =
  | {
      readonly ok: true
      readonly drift: number
      readonly account: Account
      readonly failuresBefore: number
    }
  | Refused<'wrong' | 'used' | 'throttled' | 'locked'>

/** A factor nobody has: checking a code against it takes as long and is never right. */
const NO_FACTOR: Pick<TotpFactor, 'secret' | 'lastStep' | 'drift'> = {
  secret: 'A'.repeat(32),
  lastStep: Number.MAX_SAFE_INTEGER,
  drift: null,
}

/** Authenticator apps of users. */
export class TotpProofs {
  readonly #core: Core
  readonly #settings: TotpProofSettings
  readonly #digits: RegExp

  constructor(core: Core, settings: TotpProofSettings) {
    this.#core = core
    this.#settings = settings
    this.#digits = new RegExp(`^\\d{${settings.totp.digits}}$`)
  }

  /** Whether a text has the form of a code. */
  reads(code: string): boolean {
    return this.#digits.test(plainOf(code))
  }

  /** Makes a secret and backup codes. Nothing of the account changes yet. */
  async begin({
    id,
    name,
  }: {
    readonly id: string
    readonly name: string
  }): Promise<TotpEnrolment> {
    const { issuer, totp, tickets, ticketTtlMs } = this.#settings
    const { epoch } = await this.#core.accounts.read(id)
    const secret = createTotpSecret()
    const backupCodes = createBackupCodes(this.#settings.backupCodes)
    const ticket = await tickets.put({ userId: id, secret, backupCodes, epoch })
    const uri = totpUri(issuer, labelOf(name), secret, totp)
    const expiresAt = this.#core.now() + ticketTtlMs
    return { ticket, secret, uri, qr: drawQr(uri), backupCodes, expiresAt }
  }

  /** Puts the new secret and the new backup codes in place, in one step. */
  confirm(userId: string, ticket: string, code: string, origin: Origin): Promise<CodeVerified> {
    return underGate(this.#core, origin, 'totp', userId, () =>
      this.#confirm(userId, ticket, plainOf(code), origin),
    )
  }

  /** One atomic step decides, counts and spends: a verdict is believed when it has been written. */
  verify(userId: string, code: string, origin: Origin): Promise<CodeVerified> {
    return underGate(this.#core, origin, 'totp', userId, async () => {
      const now = this.#core.now()
      const decided = await this.#core.accounts.update(userId, (account) =>
        this.#decide(account, plainOf(code), now),
      )
      if (!decided.ok) {
        tellRefused(this.#core, userId, 'totp', decided, origin)
        return failed(decided.error)
      }
      const { account, drift, failuresBefore } = decided
      const shown = { userId, method: 'totp', epoch: account.epoch } as const
      const proof = prove(this.#core, shown, origin, drift)
      const backupCodesLeft = account.backupCodes?.hashes.length ?? 0
      const value = { proof, driftSteps: drift, backupCodesLeft }
      return { ok: true, value, failuresBefore }
    })
  }

  /** Takes the app away. */
  async remove(userId: string, origin: Origin): Promise<void> {
    const removed = await this.#core.accounts.update(userId, (account) =>
      account.totp === null
        ? { result: false }
        : { next: changeFactors(account, { totp: null, totpThrottle: FRESH }), result: true },
    )
    if (!removed) throw new PARAPET_MFA_NOT_FOUND()
    await endWhatItProved(this.#core, userId, ['totp'])
    this.#core.emit('mfa.removed', userId, { factor: 'totp' }, origin)
    this.#core.notify({ kind: 'removed', userId, factor: 'totp' })
  }

  async #confirm(
    userId: string,
    ticket: string,
    code: string,
    origin: Origin,
  ): Promise<Outcome<CodeVerified>> {
    const core = this.#core
    const { tickets, totp } = this.#settings
    const pending = await tickets.look(ticket)
    if (pending?.userId !== userId) return failed(new PARAPET_MFA_TICKET_REFUSED())
    const factor = { secret: pending.secret, lastStep: -1, drift: null }
    const verdict = decideTotp(factor, code, core.now(), totp)
    if (!verdict.accepted) {
      core.emit('mfa.failed', userId, { method: 'totp', reason: 'wrong', failures: 0 }, origin)
      return failed(new PARAPET_MFA_CODE_REFUSED())
    }
    // Only now, and only for one of those who know the code: a typo does not end the enrolment.
    if ((await tickets.take(ticket)) === null) {
      core.emit('mfa.replayed', userId, { method: 'totp' }, origin)
      return failed(new PARAPET_MFA_TICKET_REFUSED())
    }
    const { step, drift } = verdict
    const value = await this.#activate(pending, step, drift, origin)
    return value === null ? failed(new PARAPET_MFA_TICKET_REFUSED()) : { ok: true, value }
  }

  /** @returns `null` where the account has other factors than when the enrolment began. */
  async #activate(
    pending: PendingTotp,
    lastStep: number,
    drift: number,
    origin: Origin,
  ): Promise<CodeVerified | null> {
    const core = this.#core
    const { userId } = pending
    const enrolledAt = core.now()
    const backupCodes = await hashBackupCodes(pending.backupCodes, enrolledAt)
    const totp = { secret: pending.secret, enrolledAt, lastStep, drift }
    const fresh = { totp, totpThrottle: FRESH, backupCodes, backupThrottle: FRESH }
    const epoch = await core.accounts.update(userId, (account) => {
      if (account.epoch !== pending.epoch) return { result: null }
      const next = changeFactors(account, fresh)
      return { next, result: next.epoch }
    })
    if (epoch === null) return null
    await endWhatItProved(core, userId, ['totp', 'backup-code'])
    core.emit('mfa.enrolled', userId, { factor: 'totp' }, origin)
    core.notify({ kind: 'enrolled', userId, factor: 'totp' })
    const proof = prove(core, { userId, method: 'totp', epoch }, origin, drift)
    return { proof, driftSteps: drift, backupCodesLeft: backupCodes.hashes.length }
  }

  #decide(account: Account, code: string, now: number): Change<Decision> {
    const { totp, totpThrottle } = account
    const limit = limitOf(this.#core, totpThrottle, now)
    if (limit !== null) return { result: limit }
    const verdict = decideTotp(totp ?? NO_FACTOR, code, now, this.#settings.totp)
    if (totp !== null && verdict.accepted) {
      const { step, drift } = verdict
      const spent = { ...totp, lastStep: step, drift }
      return {
        next: { ...account, totp: spent, totpThrottle: countSuccess(totpThrottle) },
        result: { ok: true, drift, account, failuresBefore: totpThrottle.failures },
      }
    }
    if (totp !== null && !verdict.accepted && verdict.reason === 'used') {
      // Whoever shows it again has guessed nothing; impatience must not lock anybody out.
      const { failures } = totpThrottle
      return { result: { ok: false, reason: 'used', failures, error: new PARAPET_MFA_CODE_USED() } }
    }
    const counted = countFailure(totpThrottle, now)
    const { failures } = counted
    return {
      next: { ...account, totpThrottle: counted },
      result: { ok: false, reason: 'wrong', failures, error: new PARAPET_MFA_CODE_REFUSED() },
    }
  }
}

/** What fits into a QR code beside the rest, in characters as a URI spells them. */
const MAX_LABEL = 768

/** A name as an app can show it: cut where it is longer than a QR code can hold. */
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

/** Apps show `123 456`. */
function plainOf(code: string): string {
  return code.replaceAll(/\s/g, '')
}
