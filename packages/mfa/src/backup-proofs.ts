/** Replacing backup codes, and proving one. */
import { changeFactors, hasFactor, type Account } from './account.ts'
import type { Change } from './accounts.ts'
import {
  createBackupCodes,
  hashBackupCode,
  hashBackupCodes,
  parseBackupCode,
  spendBackupCode,
  type BackupCodeSet,
} from './backup-codes.ts'
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
  PARAPET_MFA_CODE_MISTYPED,
  PARAPET_MFA_CODE_REFUSED,
  PARAPET_MFA_NOT_FOUND,
} from './errors.ts'
import { countFailure, FRESH, refundSuccess } from './throttle.ts'

type Counted =
  | { readonly ok: true; readonly set: BackupCodeSet | null; readonly failures: number }
  | Refused<'throttled' | 'locked'>

interface Spent {
  readonly left: number
  readonly epoch: number
}

/** The salt of a set nobody has: looking for a code in it takes as long. */
const NO_SALT = 'AAAAAAAAAAAAAAAAAAAAAA'

/** Backup codes of users. */
export class BackupProofs {
  readonly #core: Core
  readonly #count: number

  constructor(core: Core, count: number) {
    this.#core = core
    this.#count = count
  }

  /** Fresh codes in the place of all old ones, in one step. */
  async replace(userId: string, origin: Origin): Promise<readonly string[]> {
    const core = this.#core
    const codes = createBackupCodes(this.#count)
    const backupCodes = await hashBackupCodes(codes, core.now())
    const replaced = await core.accounts.update(userId, (account) =>
      hasFactor(account)
        ? { next: changeFactors(account, { backupCodes, backupThrottle: FRESH }), result: true }
        : { result: false },
    )
    // They stand in for a factor: without one there is nothing to stand in for.
    if (!replaced) throw new PARAPET_MFA_NOT_FOUND()
    await endWhatItProved(core, userId, ['backup-code'])
    core.emit('mfa.enrolled', userId, { factor: 'backup-code' }, origin)
    core.notify({ kind: 'enrolled', userId, factor: 'backup-code' })
    return codes
  }

  /** Spends a code. */
  async verify(userId: string, typed: string, origin: Origin): Promise<CodeVerified> {
    const code = parseBackupCode(typed)
    if (code === null) throw new PARAPET_MFA_CODE_MISTYPED()
    return underGate(this.#core, origin, 'backup-code', userId, () =>
      this.#verify(userId, code, origin),
    )
  }

  /** Counted before, since the hash takes long; after it the code is spent, or stays wrong. */
  async #verify(userId: string, code: string, origin: Origin): Promise<Outcome<CodeVerified>> {
    const core = this.#core
    const now = core.now()
    const counted = await core.accounts.update(userId, (account) =>
      this.#countAttempt(account, now),
    )
    if (!counted.ok) {
      tellRefused(core, userId, 'backup-code', counted, origin)
      return failed(counted.error)
    }
    const hash = await hashBackupCode(code, counted.set?.salt ?? NO_SALT)
    const spent = await core.accounts.update(userId, (account) => spendFrom(account, hash))
    if (spent === null) {
      const error = new PARAPET_MFA_CODE_REFUSED()
      const { failures } = counted
      const refused = { ok: false, reason: 'wrong', failures, error } as const
      tellRefused(core, userId, 'backup-code', refused, origin)
      return failed(error)
    }
    const { left, epoch } = spent
    core.emit('mfa.backup_code_used', userId, { left }, origin)
    core.notify({ kind: 'backup_code_used', userId })
    const proof = prove(core, { userId, method: 'backup-code', epoch }, origin)
    const value = { proof, driftSteps: null, backupCodesLeft: left }
    return { ok: true, value, failuresBefore: counted.failures - 1 }
  }

  #countAttempt(account: Account, now: number): Change<Counted> {
    const { backupThrottle, backupCodes } = account
    const limit = limitOf(this.#core, backupThrottle, now)
    if (limit !== null) return { result: limit }
    const counted = countFailure(backupThrottle, now)
    return {
      next: { ...account, backupThrottle: counted },
      result: { ok: true, set: backupCodes, failures: counted.failures },
    }
  }
}

function spendFrom(account: Account, hash: string): Change<Spent | null> {
  const { backupCodes, backupThrottle, epoch } = account
  const rest = backupCodes === null ? null : spendBackupCode(backupCodes, hash)
  if (rest === null) return { result: null }
  return {
    next: { ...account, backupCodes: rest, backupThrottle: refundSuccess(backupThrottle) },
    result: { left: rest.hashes.length, epoch },
  }
}
