/** Looks accounts up in the directory of the application. */
import { callPort } from '../second-factor/second-factor.ts'
import type { Account, AccountDirectory } from './account.ts'

/** @throws PARAPET_SESSIONS_UNAVAILABLE */
export async function findById(
  directory: AccountDirectory,
  userId: string,
): Promise<Account | null> {
  return (await callPort(() => directory.findById(userId))) ?? null
}

/** @throws PARAPET_SESSIONS_UNAVAILABLE */
export async function findByEmail(
  directory: AccountDirectory,
  email: string,
): Promise<Account | null> {
  return (await callPort(() => directory.findByEmail(email))) ?? null
}
