/** The calls about the account itself: password, address, and the links in messages. For services with the option `account`. */
import type { LiveSession } from './live-session.ts'
import type {
  EmailChange,
  EmailVerification,
  PasswordChange,
  PasswordReset,
} from './route-types.ts'
import { readReply } from './session-error.ts'

/** See {@link createAccountCalls}. */
export interface AccountCalls {
  /** Asks for a link to reset the password. The answer is the same for every address. */
  requestPasswordReset(email: string): Promise<void>
  /** Sets a new password by a link. Ends all sessions; log in afterwards. */
  resetPassword(reset: PasswordReset): Promise<void>
  /** Asks for a link to verify an address. The answer is the same for every address. */
  requestEmailVerification(email: string): Promise<void>
  /** Verifies an address by a link, or finishes a change of the address. */
  verifyEmail(verification: EmailVerification): Promise<void>
  /** Takes back a change of the address by the link in its notice. Ends all sessions. */
  undoEmailChange(token: string): Promise<void>
  /** Changes the own password. Ends all other sessions. */
  changePassword(change: PasswordChange): Promise<void>
  /** Asks for a link to the new address. The address changes when the link is used. */
  requestEmailChange(change: EmailChange): Promise<void>
  /** Asks for a link to log in. The answer is the same for every address. */
  requestMagicLink(email: string): Promise<void>
}

/** Creates the calls. Each route answers 202 or 204, without anything to read. */
export function createAccountCalls(baseUrl: string, session: LiveSession): AccountCalls {
  /** Without the session: a 401 of these routes is about the link, so that a refresh would not help. */
  const open = async (path: string, body: object): Promise<void> =>
    void (await readReply(session.call(`${baseUrl}/${path}`, 'POST', body)))
  const own = async (path: string, body: object): Promise<void> =>
    void (await readReply(session.send(`${baseUrl}/${path}`, 'POST', body)))

  return {
    requestPasswordReset: (email) => open('password/forgot', { email }),
    resetPassword: (reset) => open('password/reset', reset),
    requestEmailVerification: (email) => open('email/verification', { email }),
    // Without a password, the session says who verifies the address.
    verifyEmail: (verification) =>
      (verification.password === undefined ? own : open)('email/verify', verification),
    undoEmailChange: (token) => open('email/undo', { token }),
    changePassword: (change) => own('password', change),
    requestEmailChange: (change) => own('email', change),
    requestMagicLink: (email) => open('login/magic-link', { email }),
  }
}
