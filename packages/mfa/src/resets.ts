/** The end of all factors of a user: by an administrator, or by the user with two backup codes. */
import { changeFactors, createAccount } from './account.ts'
import { parseBackupCode } from './backup-codes.ts'
import type { BackupProofs } from './backup-proofs.ts'
import type { Core, Origin } from './core.ts'
import { PARAPET_MFA_CODE_MISTYPED, PARAPET_MFA_INVALID_ARGUMENT } from './errors.ts'
import { requireText } from './require-text.ts'

/** Ends the sessions of a user wherever they are kept. */
export type RevokeSessions = (userId: string) => Promise<void>

/** Resets and recoveries. */
export interface Resets {
  /**
   * Removes every factor, backup code and remembered device, ends the sessions and tells the user.
   * It may be repeated when a part failed.
   *
   * @param by who does it, for the record.
   */
  reset(userId: string, by: string, origin?: Origin): Promise<void>
  /**
   * The same, for a user who has lost the factors and shows two different backup codes.
   *
   * @throws what proving a backup code throws; a code that was right is spent even then.
   * @see NIST SP 800-63B-4, section 4.2.2.2
   */
  recover(userId: string, codes: readonly [string, string], origin?: Origin): Promise<void>
}

/** What a reset leaves. The handle stays the user's, and a period of grace that has begun goes on. */
const NOTHING = (({ userHandle: _handle, graceSince: _grace, ...rest }) => rest)(createAccount())

/** Joins resets to accounts, marks and sessions. */
export function createResets(
  core: Core,
  backup: BackupProofs,
  revokeSessions: RevokeSessions,
): Resets {
  async function clear(userId: string, by: string, recovery: boolean, origin: Origin) {
    await core.accounts.update(userId, (account) => ({
      next: changeFactors(account, NOTHING),
      credentials: { remove: account.passkeys.map(({ id }) => id) },
      result: undefined,
    }))
    await core.marks.clear(userId)
    core.emit('mfa.reset', userId, { by, recovery }, origin)
    core.notify({ kind: 'reset', userId, by })
    // Last, because it is not ours: whatever becomes of it, nothing of the old factors works.
    await revokeSessions(userId)
  }

  return {
    async reset(userId, by, origin = {}) {
      if (by === '') throw new PARAPET_MFA_INVALID_ARGUMENT('the one who resets', 'must be named')
      requireText('the one who resets', by)
      await clear(userId, by, false, origin)
    },
    async recover(userId, [first, second], origin = {}) {
      requireText('a code', first)
      requireText('a code', second)
      const parsed = [parseBackupCode(first), parseBackupCode(second)]
      if (parsed.includes(null) || parsed[0] === parsed[1]) throw new PARAPET_MFA_CODE_MISTYPED()
      await backup.verify(userId, first, origin)
      await backup.verify(userId, second, origin)
      await clear(userId, userId, true, origin)
    },
  }
}
