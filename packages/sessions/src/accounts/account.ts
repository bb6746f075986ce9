/** The ports to the users of the application, and the messages to them. */
import type { SessionUser } from '../users/user.ts'

/** An account as the application stores it. */
export interface Account {
  readonly user: SessionUser
  /** Where messages go; also the login name, if the application wants that. */
  readonly email: string
  readonly isEmailVerified: boolean
  /** The result of `hashPassword`, a hash of the former system, or `null`: the account has no password. */
  readonly passwordHash: string | null
  /** No link is sent for a disabled account, and none but a way back works. Notices are sent. @default false */
  readonly disabled?: boolean
  /** What the password must not be made of, beside the e-mail address: names. @default [] */
  readonly words?: readonly string[]
}

/** The user table of the application. Errors become 503. */
export interface AccountDirectory {
  findById(userId: string): Promise<Account | null | undefined>
  /** Finds by the address in any case. */
  findByEmail(email: string): Promise<Account | null | undefined>
  /** Saves a password if the stored hash is still `previous`. @returns whether it was. */
  savePassword(userId: string, passwordHash: string, previous: string | null): Promise<boolean>
  /** Marks the address as verified if it is still the address. @returns whether it is. */
  verifyEmail(userId: string, email: string): Promise<boolean>
  /**
   * Replaces the address, which counts as verified, if it is still `previous`. An account that has signed up with the
   * new address and never verified it is deleted in the same transaction: otherwise anyone could keep the owner of
   * a mailbox out by a sign-up, also from the way back.
   *
   * @returns `false`: it is not, or another account has verified the new address. Nothing was changed.
   */
  saveEmail(userId: string, email: string, previous: string): Promise<boolean>
}

/** A message with a link. The token must not be logged. */
export interface LinkMessage {
  readonly userId: string
  readonly email: string
  readonly token: string
  /** The page of the option `pages`, with the token behind `#token=`: browsers do not send that part. */
  readonly link: string
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** What a notice is about. */
export type NoticeKind =
  | 'password_changed'
  | 'password_reset'
  | 'email_change_requested'
  | 'email_changed'
  | 'email_change_undone'
  | 'address_in_use'
  | 'new_device'
  | 'identity_linked'
  | 'identity_unlinked'
  | 'account_locked'
  | 'account_unlocked'
  | 'password_reset_required'
  | 'second_factor_forced'
  | 'impersonated'
  | 'factor_enrolled'
  | 'factor_removed'
  | 'factors_reset'
  | 'factor_locked'
  | 'factor_undone'
  | 'backup_code_used'

/** What a notice says beside its kind: a device, a place, a reason. */
export type NoticeDetails = Readonly<Record<string, string | number | null>>

/** A message about something that happened to an account. */
export interface AccountNotice {
  readonly kind: NoticeKind
  readonly userId: string
  readonly email: string
  /** When it happened, in milliseconds since the Unix epoch. */
  readonly at: number
  readonly details: NoticeDetails
  /** The way back after `email_changed`, and after `factor_enrolled` of a first factor: it works for 72 hours. */
  readonly undo?: Pick<LinkMessage, 'token' | 'link' | 'expiresAt'>
}

/** Sends messages. A rejection is tried again with a new link, so a message may arrive twice. */
export interface AccountMessages {
  sendPasswordReset(message: LinkMessage): Promise<void>
  /** @param message `isChange`: the address replaces another one when the link is used. */
  sendEmailVerification(message: LinkMessage & { readonly isChange: boolean }): Promise<void>
  sendNotice(notice: AccountNotice): Promise<void>
  /** Without it there are no magic links. */
  sendMagicLink?(message: LinkMessage): Promise<void>
}

/** The pages of the application that links open. Absolute URLs without a fragment. */
export interface AccountPages {
  readonly resetPassword: string
  readonly verifyEmail: string
  readonly undoEmailChange: string
  /** Required with `sendMagicLink`. */
  readonly magicLink?: string | undefined
}
