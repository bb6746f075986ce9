/** Removes all factors of a user: a reset by an administrator, or a recovery with backup codes. */
import { changeFactors, createAccount } from '../account/account.ts'
import { parseBackupCode, parseImportedCode } from '../backup-codes/backup-code.ts'
import type { BackupCodes } from '../backup-codes/backup-codes.ts'
import { PARAPET_MFA_CODE_MISTYPED, PARAPET_MFA_INVALID_ARGUMENT } from '../errors.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import { requireText } from './arguments.ts'

/** Ends all sessions of a user, wherever they are stored. */
export type RevokeSessions = (userId: string) => Promise<void>

/** Resets and recoveries. */
export interface Resets {
  /**
   * Removes every factor, backup code and remembered device, revokes the sessions and notifies the
   * user. It may be repeated if a part of it failed.
   *
   * @param by the id of the administrator, for the event.
   * @throws PARAPET_MFA_INVALID_ARGUMENT `by` is empty.
   */
  reset(userId: string, by: string, origin?: Origin): Promise<void>
  /**
   * Does the same for a user who has lost the factors and shows two different backup codes.
   *
   * @throws the errors of a wrong backup code. A right code is used up even if the other is wrong.
   * @see NIST SP 800-63B-4, section 4.2.2.2
   */
  recover(userId: string, codes: readonly [string, string], origin?: Origin): Promise<void>
}

/** A reset keeps the user handle, and a grace period that has begun. */
const RESET = (({ userHandle: _handle, graceSince: _grace, ...rest }) => rest)(createAccount())

/** Creates resets and recoveries. */
export function createResets(
  context: FactorContext,
  backupCodes: BackupCodes,
  revokeSessions: RevokeSessions,
): Resets {
  async function clear(userId: string, by: string, recovery: boolean, origin: Origin) {
    await context.accounts.update(userId, (account) => ({
      next: changeFactors(account, RESET),
      credentials: { remove: account.passkeys.map(({ id }) => id) },
      result: undefined,
    }))
    await context.sessionProofs.clear(userId)
    context.emit('mfa.reset', userId, { by, recovery }, origin)
    context.notify({ kind: 'reset', userId, by })
    // Last, because it may fail: the old factors are then already removed.
    await revokeSessions(userId)
  }

  return {
    async reset(userId, by, origin = {}) {
      requireText('id of the administrator', by)
      if (by === '') {
        throw new PARAPET_MFA_INVALID_ARGUMENT('the id of the administrator must not be empty')
      }
      await clear(userId, by, false, origin)
    },
    async recover(userId, [first, second], origin = {}) {
      requireText('first code', first)
      requireText('second code', second)
      const { backupCodes: set } = await context.accounts.read(userId)
      const read = set?.isImported === true ? parseImportedCode : parseBackupCode
      const parsed = [read(first), read(second)]
      if (parsed.includes(null) || parsed[0] === parsed[1]) throw new PARAPET_MFA_CODE_MISTYPED()
      await backupCodes.verify(userId, first, origin)
      await backupCodes.verify(userId, second, origin)
      await clear(userId, userId, true, origin)
    },
  }
}
