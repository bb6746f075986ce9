/** Encrypts account records for storage and decrypts them. @see docs/spec/mfa-account.md */
import type { Cipher, CipherContext } from '@parapet/kit'
import { PARAPET_MFA_ACCOUNT_UNREADABLE } from '../errors.ts'
import type { Account } from './account.ts'

/** Seals an account for its user. */
export function sealAccount(cipher: Cipher, userId: string, account: Account): Promise<string> {
  return cipher.seal(JSON.stringify(account), contextOf(userId))
}

/** Opens an account that was sealed for this user. @throws PARAPET_MFA_ACCOUNT_UNREADABLE */
export async function openAccount(
  cipher: Cipher,
  userId: string,
  sealed: string,
): Promise<Account> {
  let account: Account | undefined
  try {
    account = JSON.parse((await cipher.open(sealed, contextOf(userId))).toString()) as Account
  } catch (error) {
    // A 503 says that the keys cannot be reached right now; the record itself may be intact.
    if ((error as { statusCode?: unknown }).statusCode === 503) throw error
    throw Object.assign(new PARAPET_MFA_ACCOUNT_UNREADABLE(), { cause: error })
  }
  // The seal proves that this plugin wrote the record, but another version may use another form.
  if (account.v !== 1) throw new PARAPET_MFA_ACCOUNT_UNREADABLE()
  return account
}

function contextOf(userId: string): CipherContext {
  return ['mfa', 'account', userId]
}
