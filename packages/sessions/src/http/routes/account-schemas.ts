/** The schemas of the routes of accounts. */
import { closed, done, pending, refusals, text, tokens } from './schemas.ts'

const tags = ['sessions']

const accepted = {
  202: {
    ...closed({ accepted: { type: 'boolean', const: true } }),
    description: 'Accepted, whether the address has an account or not',
  },
  ...refusals,
}
const email = text({ minLength: 3, maxLength: 254, pattern: '^[^\\u0000]*$' })
/**
 * One mailbox, and nothing that a mail program reads as a list, a name, a comment or another header. Quoted local
 * parts are refused. @see RFC 5322, section 3.4.1; RFC 6531, section 3.3
 */
const newEmail = text({
  minLength: 3,
  maxLength: 254,
  pattern: String.raw`^[^\s\p{Cc}\p{Cs}"(),:;<>@\[\\\]]+@[^\s\p{Cc}\p{Cs}"(),:;<>@\[\\\]]+$`,
})
const token = text({ minLength: 1, maxLength: 2048, description: 'From the link' })
const password = text({ minLength: 1, maxLength: 1024 })
const current = text({
  minLength: 1,
  maxLength: 1024,
  description: 'The current password; not needed within five minutes after a second factor',
})
const keepApiKeys = { type: 'boolean', description: 'Whether API keys stay valid', default: false }

/** The schema of each route. */
export const accountSchemas = {
  forgot: {
    operationId: 'requestPasswordReset',
    summary: 'Send a link to reset the password, if the address has an account',
    tags,
    body: closed({ email }),
    response: accepted,
  },
  reset: {
    operationId: 'resetPassword',
    summary: 'Set a new password by a link; ends all sessions and API keys',
    tags,
    body: closed({ token, password, keepApiKeys }, ['keepApiKeys']),
    response: done,
  },
  requestVerification: {
    operationId: 'requestEmailVerification',
    summary: 'Send a link to verify the address, if it has an account that needs one',
    tags,
    body: closed({ email }),
    response: accepted,
  },
  verify: {
    operationId: 'verifyEmail',
    summary: 'Verify an address by a link, or finish the change of an address',
    tags,
    body: closed(
      { token, password: { ...password, description: 'Of the sign-up, unless logged in' } },
      ['password'],
    ),
    response: done,
  },
  undo: {
    operationId: 'undoEmailChange',
    summary:
      'Take back a new address or a first second factor by the link in its notice; ends all sessions',
    tags,
    body: closed({ token }),
    response: done,
  },
  requestMagicLink: {
    operationId: 'requestMagicLink',
    summary: 'Send a link to log in, if the address has an account',
    tags,
    body: closed({ email }),
    response: accepted,
  },
  finishMagicLink: {
    operationId: 'finishMagicLink',
    summary: 'Log in by a link',
    tags,
    body: closed({ token }),
    response: { 200: tokens, 202: pending, ...refusals },
  },
  changePassword: {
    operationId: 'changePassword',
    summary: 'Change the own password; ends all other sessions and API keys',
    tags,
    body: closed({ current, password, keepApiKeys }, ['current', 'keepApiKeys']),
    response: done,
  },
  changeEmail: {
    operationId: 'requestEmailChange',
    summary: 'Send a link to a new address of the own account; it changes when the link is used',
    tags,
    body: closed({ current, email: newEmail }, ['current']),
    response: {
      ...accepted,
      202: { ...accepted[202], description: 'Accepted, whether the address is free or not' },
    },
  },
} as const
