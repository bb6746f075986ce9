/** The operations at `app.sessions` on the accounts of others. */
import type { Resealed } from '@parapet/kit'
import type { SessionGrant } from '../session/grant.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { RequestLike } from '../users/request-like.ts'

/** Why an operator acts, and who it is. */
export interface OperatorAction {
  /** 1 to 300 characters, for the audit log and for the notice. @default 'by the service' */
  readonly reason?: string
  /** The id of the operator. @default nobody: the service itself */
  readonly by?: string
}

/** Which session outlives a required reset. */
export interface ResetAction extends OperatorAction {
  /** A session in which the user can still set a new password: that of a first password. @default none */
  readonly exceptSessionId?: string
}

/** How long an account is locked. */
export interface LockAction extends OperatorAction {
  /** Milliseconds since the Unix epoch. @default null, until it is unlocked */
  readonly until?: number | null
}

/** Why and how long an operator acts as a user. */
export interface Impersonation {
  /** 1 to 300 characters: a ticket, a call. */
  readonly reason: string
  /** 60 000 to 3 600 000 ms. @default 900_000, 15 minutes */
  readonly maxAgeMs?: number
}

/** What is set on an account. */
export interface AccountStatus {
  readonly locked: {
    readonly until: number | null
    readonly reason: string
    readonly at: number
    readonly by: string | null
  } | null
  readonly passwordResetRequired: boolean
  readonly secondFactorForced: boolean
}

/** The operations at `app.sessions` for operators, playbooks and back offices. */
export interface OperatorHand {
  /**
   * Ends all sessions and refuses logins, refreshes and API keys. The owner gets a notice and, after a login
   * with the right credentials, PARAPET_SESSIONS_ACCOUNT_LOCKED. A second call replaces reason and time. It replaces
   * also a record that cannot be read: see PARAPET_SESSIONS_ACCOUNT_UNREADABLE.
   */
  lockAccount(userId: string, action?: LockAction, request?: RequestLike): Promise<void>
  unlockAccount(userId: string, action?: OperatorAction, request?: RequestLike): Promise<void>
  /**
   * Ends all sessions. A login with a password gets PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED until the password
   * was replaced: by a link, which is sent at once, or in a session that goes on. Other logins and API keys work.
   */
  requirePasswordReset(userId: string, action?: ResetAction, request?: RequestLike): Promise<void>
  /** Takes {@link OperatorHand.requirePasswordReset} back. */
  liftPasswordReset(userId: string, action?: OperatorAction, request?: RequestLike): Promise<void>
  /**
   * Ends all sessions. From the next login on, a session without a second factor can do nothing but enrol one:
   * other routes answer PARAPET_SESSIONS_SECOND_FACTOR_REQUIRED.
   */
  forceSecondFactor(userId: string, action?: OperatorAction, request?: RequestLike): Promise<void>
  /** Takes {@link OperatorHand.forceSecondFactor} back. */
  liftSecondFactor(userId: string, action?: OperatorAction, request?: RequestLike): Promise<void>
  /** @throws PARAPET_SESSIONS_ACCOUNT_UNREADABLE */
  accountStatus(userId: string): Promise<AccountStatus>
  /**
   * Seals what is set on accounts by the first of `secrets`. Call it before a secret is removed: what it has sealed
   * could not be read any more, and those accounts would be closed. Needs `sql`.
   *
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
   */
  resealAccounts(): Promise<Resealed>
  /**
   * Starts a session in which an operator acts as a user: with the method `imp`, the claim `act`, no proof of any
   * factor, and an end. It changes no password, address or factor. The user gets a notice.
   *
   * @param operator the token of the operator: `request.sessions`.
   * @throws PARAPET_SESSIONS_IMPERSONATION_REFUSED the user has rights that the operator lacks, is the operator or
   *   does not exist, or the operator is impersonating already.
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
   */
  impersonate(
    operator: AccessToken,
    userId: string,
    impersonation: Impersonation,
    request?: RequestLike,
  ): Promise<SessionGrant>
  /**
   * Ends all access of a user who was deleted, and deletes what is stored beside it: locks, former addresses, links
   * in messages, linked identities, known devices. Repeat it if it rejects.
   */
  forgetUser(userId: string): Promise<void>
}
