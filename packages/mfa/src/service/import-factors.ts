/** Imports the factors of users from another system, in bulk. */
import { changeFactors, hasFactor, type Account, type BackupCodeSet } from '../account/account.ts'
import type { Change } from '../account/accounts.ts'
import { hashBackupCodes } from '../backup-codes/backup-code.ts'
import { revokeProofs, type FactorContext } from '../factors/context.ts'
import { NO_FAILURES } from '../limits/wrong-codes.ts'
import {
  readFactors,
  type ImportedFactors,
  type ImportFault,
  type ReadTotp,
} from './read-import.ts'

/** The options of an import. */
export interface ImportOptions {
  /**
   * Whether the factors of a user who has an app or backup codes already are replaced. Codes that were used work
   * again then. @default false: the user is skipped
   */
  readonly replace?: boolean
}

/** The result of an import. It has no secret and no code. */
export interface ImportReport {
  readonly imported: number
  /** Users who have an authenticator app, or backup codes, already. */
  readonly skipped: number
  /** Imported secrets of less than 112 bits. @see NIST SP 800-63B-4, section 3.1.4.1 */
  readonly weakSecrets: number
  readonly refused: number
  /** The first 1000 that were refused; `index` counts from 0. Those with `storage` can be sent again. */
  readonly faults: readonly {
    readonly index: number
    readonly userId: string
    readonly reason: ImportFault
  }[]
}

/** What {@link createImport} needs. */
export interface ImportSettings {
  readonly context: FactorContext
  /** Whether codes of so many digits can be guessed within the limits. */
  readonly isGuessable: (digits: number) => boolean
}

/** Imports users one after the other. @returns a report; it rejects only if the source of users does. */
export type ImportFactors = (
  users: Iterable<ImportedFactors> | AsyncIterable<ImportedFactors>,
  options?: ImportOptions,
) => Promise<ImportReport>

const MAX_FAULTS = 1000

/** Creates the import. */
export function createImport({ context, isGuessable }: ImportSettings): ImportFactors {
  return async (users, { replace = false } = {}) => {
    const count = { imported: 0, skipped: 0, weakSecrets: 0, refused: 0 }
    const faults: ImportReport['faults'][number][] = []
    let index = 0
    for await (const user of users) {
      const result = await importOne(context, user, { replace, isGuessable })
      if (result === 'imported' || result === 'weak') count.imported++
      if (result === 'weak') count.weakSecrets++
      if (result === 'skipped') count.skipped++
      if (typeof result === 'object') {
        count.refused++
        const userId = String((user as Partial<ImportedFactors> | null)?.userId).slice(0, 300)
        if (faults.length < MAX_FAULTS) faults.push({ index, userId, reason: result.fault })
      }
      index++
    }
    return { ...count, faults }
  }
}

type Result = 'imported' | 'weak' | 'skipped' | { readonly fault: ImportFault }

async function importOne(
  context: FactorContext,
  user: ImportedFactors,
  { replace, isGuessable }: Required<ImportOptions> & Pick<ImportSettings, 'isGuessable'>,
): Promise<Result> {
  if (typeof user !== 'object' || user === null) return { fault: 'user_id' }
  const read = readFactors(user, context.now(), isGuessable)
  if ('fault' in read) return read
  const { totp, codes } = read
  const { userId } = user
  try {
    // Before hashing, which costs a run of scrypt for each code.
    const before = decide(await context.accounts.read(userId), totp, null, replace).result
    if (before !== 'imported') return before
    const hashed = codes.length === 0 ? null : await hashBackupCodes(codes, context.now())
    const set = hashed === null ? null : ({ ...hashed, isImported: true } as const)
    const result = await context.accounts.update(userId, (account) =>
      decide(account, totp, set, replace),
    )
    if (result !== 'imported') return result
    await revokeProofs(context, userId, ['totp', 'backup-code'])
    const details = { totp: totp !== null, backupCodes: codes.length }
    context.emit('mfa.imported', userId, details, {})
    return totp?.isWeak === true ? 'weak' : 'imported'
  } catch {
    // One account that cannot be written must not end the import of all others.
    return { fault: 'storage' }
  }
}

function decide(
  account: Account,
  totp: ReadTotp | null,
  backupCodes: BackupCodeSet | null,
  replace: boolean,
): Change<Result> {
  // The same codes a second time would bring back those that were used meanwhile.
  const present = totp === null ? account.backupCodes : account.totp
  if (present !== null && !replace) return { result: 'skipped' }
  // Backup codes replace a factor that was lost; without any they would be the only one.
  if (totp === null && !hasFactor(account)) return { result: { fault: 'no_factor' } }
  const changes: Partial<Account> = {
    ...(totp === null ? undefined : { totp: factorOf(totp), totpThrottle: NO_FAILURES }),
    ...(backupCodes === null ? undefined : { backupCodes, backupThrottle: NO_FAILURES }),
  }
  return { next: changeFactors(account, changes), result: 'imported' }
}

function factorOf({ secret, form, enrolledAt }: ReadTotp) {
  return { secret, form, enrolledAt, lastStep: -1, recentSteps: [], drift: null }
}
