/** What an application asks for at `app.sessions.account`, beside the routes. */
import type { NoticeDetails, NoticeKind } from '../accounts/account.ts'
import { PARAPET_SESSIONS_INVALID_ARGUMENT } from '../errors.ts'
import type { AccountParts } from './account-parts.ts'
import type { FactorChange } from './ways-back.ts'

/** The operations at `app.sessions.account`. */
export interface AccountOperations {
  /**
   * Call it after a sign-up, for a new address and for one that is taken: an address that is not verified gets a
   * link, the owner of a verified one a notice. Answer the client before you know which it is.
   */
  signedUp(email: string): Promise<void>
  /** Sends a notice to the address of a user. */
  notify(userId: string, kind: NoticeKind, details?: NoticeDetails): Promise<void>
  /**
   * Sends a notice of a change of second factors: give it to the option `notify` of `@parapet/mfa`. After the first
   * factor it has a way back for 72 hours, if `secondFactor` has `removeAll`.
   */
  factorChanged(change: FactorChange): Promise<void>
}

/** Creates the operations. Without the option `account` they throw PARAPET_SESSIONS_INVALID_ARGUMENT. */
export function createAccountOperations(parts: AccountParts | undefined): AccountOperations {
  const requireParts = () => {
    if (parts !== undefined) return parts
    throw new PARAPET_SESSIONS_INVALID_ARGUMENT('account', 'the option to be set', 'nothing')
  }
  return {
    signedUp: async (email) => requireParts().mailer.request('sign-up', email),
    notify: async (userId, kind, details) => requireParts().mailer.notify(userId, kind, details),
    factorChanged: async (change) => requireParts().waysBack.reportFactor(change),
  }
}
