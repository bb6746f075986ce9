/** Seals all accounts by the primary key, so that a former key can be removed. */
import { retryConflicts, type conflict } from '@parapet/kit'
import {
  PARAPET_MFA_ACCOUNT_UNREADABLE,
  PARAPET_MFA_BUSY,
  PARAPET_MFA_INVALID_ARGUMENT,
} from '../errors.ts'
import type { AccountRepository } from './account-repository.ts'

/** The result of `app.mfa.resealAll`. */
export interface Resealed {
  /** How many accounts there are. */
  readonly accounts: number
  /** How many were sealed again, because another key had sealed them. */
  readonly resealed: number
  /** How many do not open with any of the keys. */
  readonly unreadable: number
}

/** Seals one account. `conflict`: another writer was first. */
type Reseal = (userId: string) => Promise<'current' | 'resealed' | typeof conflict>

const PAGE = 100

/**
 * Seals all accounts of a storage.
 *
 * @param list `undefined`: the storage cannot list its accounts.
 * @throws PARAPET_MFA_INVALID_ARGUMENT, PARAPET_MFA_BUSY
 */
export async function resealAll(
  list: AccountRepository['list'],
  reseal: Reseal,
): Promise<Resealed> {
  if (list === undefined) {
    throw new PARAPET_MFA_INVALID_ARGUMENT(
      'app.mfa.resealAll needs the option "sql", or "accounts" with a method "list"',
    )
  }
  const count = { accounts: 0, current: 0, resealed: 0, unreadable: 0 }
  let ids: readonly string[] = []
  do {
    ids = await list(ids.at(-1) ?? null, PAGE)
    for (const id of ids) count[await resealOne(id, reseal)]++
    count.accounts += ids.length
  } while (ids.length === PAGE)
  const { accounts, resealed, unreadable } = count
  return { accounts, resealed, unreadable }
}

async function resealOne(
  userId: string,
  reseal: Reseal,
): Promise<'current' | 'resealed' | 'unreadable'> {
  try {
    return await retryConflicts<'current' | 'resealed'>(
      () => reseal(userId),
      () => new PARAPET_MFA_BUSY(),
    )
  } catch (error) {
    if (error instanceof PARAPET_MFA_ACCOUNT_UNREADABLE) return 'unreadable'
    throw error
  }
}
