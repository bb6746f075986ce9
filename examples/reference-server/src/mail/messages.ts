/** The texts of the messages to users. */
import type { AccountMessages, AccountNotice, NoticeKind } from '@parapet/sessions'
import type { SendMail } from './transport.ts'

/** The name at the beginning of every subject. */
export const SERVICE = 'Parapet reference server'
const IGNORE = 'If you did not ask for this, ignore this message: nothing changes.'

/** Creates the messages for the option `account.messages` of sessions. */
export function createMessages(send: SendMail): AccountMessages {
  return {
    sendPasswordReset: ({ userId, email, link }) =>
      send({
        to: email,
        userId,
        subject: `${SERVICE}: set a new password`,
        text: lines('Set a new password within 15 minutes:', link, IGNORE),
      }),
    sendEmailVerification: ({ userId, email, link, isChange }) =>
      send({
        to: email,
        userId,
        subject: `${SERVICE}: verify your address`,
        text: isChange
          ? lines('Use this address for your account, within 24 hours:', link, IGNORE)
          : lines('Verify your address within 24 hours:', link, IGNORE),
      }),
    sendNotice: (notice) =>
      send({
        to: notice.email,
        userId: notice.userId,
        subject: `${SERVICE}: ${SUBJECTS[notice.kind]}`,
        text: lines(TEXTS[notice.kind], ...detailsOf(notice), ...undoOf(notice)),
      }),
  }
}

const SUBJECTS: Readonly<Record<NoticeKind, string>> = {
  password_changed: 'your password was changed',
  password_reset: 'your password was reset',
  email_change_requested: 'a change of your address was requested',
  email_changed: 'your address was changed',
  email_change_undone: 'the change of your address was taken back',
  address_in_use: 'your address was used for a sign-up',
  new_device: 'a login from a new device',
  identity_linked: 'another login was added to your account',
  identity_unlinked: 'a login was removed from your account',
  account_locked: 'your account was locked',
  account_unlocked: 'your account was unlocked',
  password_reset_required: 'set a new password',
  second_factor_forced: 'a second factor is required',
  impersonated: 'an operator uses your account',
  factor_enrolled: 'a second factor was added to your account',
  factor_removed: 'a second factor was removed from your account',
  factors_reset: 'your second factors were removed',
  factor_locked: 'your authenticator app was locked',
  factor_undone: 'your account was put back',
  backup_code_used: 'a backup code was used',
}

const TEXTS: Readonly<Record<NoticeKind, string>> = {
  password_changed: 'Your password was changed, and all other sessions were ended.',
  password_reset: 'Your password was reset by a link, and all sessions were ended.',
  email_change_requested: 'Someone who is logged in asked to change the address of your account.',
  email_changed: 'Messages about your account go to another address now.',
  email_change_undone: 'All sessions were ended. A link to set a new password follows.',
  address_in_use: 'Someone wanted to use your address for an account. You have one already.',
  new_device: 'Your account was used on a device or network that was not seen before.',
  identity_linked:
    'An identity at the provider below logs in to your account now. If it was not you, reset your password and remove it.',
  identity_unlinked:
    'An identity at the provider below does not log in to your account any more. If it was not you, reset your password.',
  account_locked: 'Nobody can log in to your account. Ask us if you do not know why.',
  account_unlocked: 'You can log in again.',
  password_reset_required:
    'Your password does not log in any more. A link to set a new one follows.',
  second_factor_forced: 'At the next login you are asked to enrol a second factor.',
  impersonated: 'An operator of the service acts in your account for a short time.',
  factor_enrolled: 'Logins to your account ask for it now. If it was not you, reset your password.',
  factor_removed:
    'Logins to your account do not ask for it any more. If it was not you, reset your password.',
  factors_reset: 'Your password alone logs in now. If you did not ask for this, contact us.',
  factor_locked:
    'Someone sent too many wrong codes. If it was not you, your password is known: reset it.',
  factor_undone:
    'The second factors were removed, and all sessions were ended. A link to set a new password follows.',
  backup_code_used: 'If it was not you, your password is known: reset it.',
}

function detailsOf({ details, at }: AccountNotice): string[] {
  const known = Object.entries(details).filter(([, value]) => value !== null && value !== '')
  return [
    [
      `time: ${new Date(at).toUTCString()}`,
      ...known.map(([name, value]) => line(name, value)),
    ].join('\n'),
  ]
}

/** One line, whatever a user agent or a reason contains. */
function line(name: string, value: string | number | null): string {
  const text = name === 'until' ? new Date(Number(value)).toUTCString() : String(value)
  return `${name}: ${text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ').slice(0, 300)}`
}

function undoOf({ undo }: AccountNotice): string[] {
  if (undo === undefined) return []
  const until = new Date(undo.expiresAt).toUTCString()
  return [`If it was not you, take it back until ${until}. This ends all sessions:`, undo.link]
}

function lines(...paragraphs: readonly string[]): string {
  return `${paragraphs.join('\n\n')}\n`
}
