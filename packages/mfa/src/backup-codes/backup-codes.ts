/** Verifies and replaces the backup codes of an account. */
import { changeFactors, hasFactor, type Account, type BackupCodeSet } from '../account/account.ts'
import type { Change } from '../account/accounts.ts'
import {
  PARAPET_MFA_CODE_MISTYPED,
  PARAPET_MFA_CODE_REFUSED,
  PARAPET_MFA_NOT_FOUND,
} from '../errors.ts'
import { failed, runAttempt, type Outcome } from '../factors/attempt.ts'
import {
  checkLimits,
  reportRefusal,
  type CodeVerified,
  type RefusedAttempt,
} from '../factors/code-attempt.ts'
import {
  issueProof,
  reportChange,
  revokeProofs,
  type FactorContext,
  type Origin,
} from '../factors/context.ts'
import { countFailure, NO_FAILURES, refundSuccess } from '../limits/wrong-codes.ts'
import {
  createBackupCodes,
  hashBackupCode,
  hashBackupCodes,
  parseBackupCode,
  parseImportedCode,
  spendBackupCode,
} from './backup-code.ts'

type Counted =
  | { readonly ok: true; readonly set: BackupCodeSet | null; readonly failures: number }
  | RefusedAttempt<'throttled' | 'locked'>

interface Spent {
  readonly left: number
  readonly epoch: number
}

/** For users without codes: hashing with it takes as long as with a real salt. */
const NO_SALT = 'AAAAAAAAAAAAAAAAAAAAAA'

/** Verifies and replaces backup codes. */
export class BackupCodes {
  readonly #context: FactorContext
  readonly #count: number

  constructor(context: FactorContext, count: number) {
    this.#context = context
    this.#count = count
  }

  /** Creates new codes and replaces all old ones in one write. @throws PARAPET_MFA_NOT_FOUND */
  async replace(userId: string, origin: Origin): Promise<readonly string[]> {
    const context = this.#context
    const codes = createBackupCodes(this.#count)
    const backupCodes = await hashBackupCodes(codes, context.now())
    const fresh = { backupCodes, backupThrottle: NO_FAILURES }
    const replaced = await context.accounts.update(userId, (account) =>
      hasFactor(account)
        ? { next: changeFactors(account, fresh), result: true }
        : { result: false },
    )
    // Backup codes replace a lost factor, so a user without a factor gets none.
    if (!replaced) throw new PARAPET_MFA_NOT_FOUND()
    await revokeProofs(context, userId, ['backup-code'])
    reportChange(context, 'enrolled', userId, 'backup-code', origin)
    return codes
  }

  /** Verifies a code and removes it from the account. */
  async verify(userId: string, typed: string, origin: Origin): Promise<CodeVerified> {
    const code = await this.#read(userId, typed)
    if (code === null) throw new PARAPET_MFA_CODE_MISTYPED()
    return runAttempt(this.#context, { userId, method: 'backup-code', origin }, () =>
      this.#verify(userId, code, origin),
    )
  }

  /**
   * The code as it is hashed; `null`: it is mistyped. The account is read for every text, so that a typing error
   * takes as long as a wrong code up to here.
   */
  async #read(userId: string, typed: string): Promise<string | null> {
    const code = parseBackupCode(typed)
    const { backupCodes } = await this.#context.accounts.read(userId)
    if (backupCodes?.isImported !== true) return code
    const imported = parseImportedCode(typed)
    return imported === '' ? null : imported
  }

  /**
   * Counts the attempt as wrong before hashing, because scrypt is slow and concurrent attempts would
   * otherwise exceed the limit. A right code then takes its count back.
   */
  async #verify(userId: string, code: string, origin: Origin): Promise<Outcome<CodeVerified>> {
    const context = this.#context
    const now = context.now()
    const counted = await context.accounts.update(userId, (account) =>
      this.#countAttempt(account, now),
    )
    if (!counted.ok) {
      reportRefusal(context, userId, 'backup-code', counted, origin)
      return failed(counted.error)
    }
    const hash = await hashBackupCode(code, counted.set?.salt ?? NO_SALT)
    const spent = await context.accounts.update(userId, (account) => spendFrom(account, hash))
    if (spent === null) {
      const error = new PARAPET_MFA_CODE_REFUSED()
      const { failures } = counted
      const refusal = { ok: false, reason: 'wrong', failures, error } as const
      reportRefusal(context, userId, 'backup-code', refusal, origin)
      return failed(error)
    }
    const { left, epoch } = spent
    context.emit('mfa.backup_code_used', userId, { left }, origin)
    context.notify({ kind: 'backup_code_used', userId })
    const proof = issueProof(context, { userId, method: 'backup-code', epoch }, origin)
    const value = { proof, driftSteps: null, backupCodesLeft: left }
    return { ok: true, value }
  }

  #countAttempt(account: Account, now: number): Change<Counted> {
    const { backupThrottle, backupCodes } = account
    const refusal = checkLimits(this.#context, backupThrottle, now)
    if (refusal !== null) return { result: refusal }
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
