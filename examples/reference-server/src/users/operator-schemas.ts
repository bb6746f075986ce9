/** The schemas of the routes with which an operator acts on the account of another user. */
import { Type } from '@sinclair/typebox'
import { closedObject, emptyBody, IdParams, problems, singleLineText } from '../http/schemas.ts'

const tags = ['users']
const params = IdParams
const reason = singleLineText(300, 'Why; the user reads it in a notice, and the audit log keeps it')
const done = { 204: emptyBody('Done'), ...problems }
const dateTime = (description: string) =>
  Type.String({ format: 'date-time', maxLength: 40, description })

/** The schemas. */
export const operatorRoutes = {
  status: {
    operationId: 'getAccountStatus',
    summary: 'Read whether the account of a user is locked, and what its next login needs',
    tags,
    params,
    response: {
      200: closedObject({
        locked: Type.Union([
          closedObject({
            until: Type.Union([dateTime('The end of the lock'), Type.Null()]),
            reason: Type.String(),
            at: dateTime('When it was locked'),
            by: Type.Union([Type.String({ description: 'The operator' }), Type.Null()]),
          }),
          Type.Null(),
        ]),
        passwordResetRequired: Type.Boolean(),
        secondFactorForced: Type.Boolean(),
      }),
      ...problems,
    },
  },
  lock: {
    operationId: 'lockAccount',
    summary: 'Lock the account of a user: ends all sessions, and nobody can log in',
    tags,
    params,
    body: closedObject({
      reason,
      until: Type.Optional(dateTime('The end, in the future. Absent: until it is unlocked')),
    }),
    response: done,
  },
  unlock: {
    operationId: 'unlockAccount',
    summary: 'Unlock the account of a user',
    tags,
    params,
    response: done,
  },
  requireReset: {
    operationId: 'requirePasswordReset',
    summary:
      'End all sessions of a user, and send a link to set a new password, which is needed from now on',
    tags,
    params,
    body: closedObject({ reason }),
    response: done,
  },
  forceFactor: {
    operationId: 'forceSecondFactor',
    summary:
      'End all sessions of a user; from the next login on, the account needs a second factor',
    tags,
    params,
    body: closedObject({ reason }),
    response: done,
  },
  liftFactor: {
    operationId: 'liftSecondFactor',
    summary: 'Let a user work without a second factor again',
    tags,
    params,
    response: done,
  },
  impersonate: {
    operationId: 'impersonateUser',
    summary:
      'Act as a user for a short time. In a browser, the session replaces the one of the operator; logging out ends it',
    tags,
    params,
    body: closedObject({
      reason,
      minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 60, default: 15 })),
    }),
    response: {
      201: closedObject({
        token_type: Type.Literal('Bearer'),
        expires_in: Type.Integer({ description: 'Seconds until the access token expires' }),
        access_token: Type.Optional(Type.String({ description: 'Absent if cookies are used' })),
        refresh_token: Type.Optional(Type.String({ description: 'Absent if cookies are used' })),
      }),
      ...problems,
    },
  },
  endImpersonation: {
    operationId: 'endImpersonation',
    summary: 'End every session in which the caller acts as a user',
    tags,
    params,
    response: done,
  },
}
