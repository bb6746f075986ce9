/** `/users/me`: the own account. What takes an account over requires full authentication again. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
import { countAttempt, forgetAttempts, type PasswordAttempt } from '../access/password-attempts.ts'
import {
  PARAPET_REFERENCE_EMAIL_TAKEN,
  PARAPET_REFERENCE_TOO_MANY_PASSWORDS,
  PARAPET_REFERENCE_WRONG_PASSWORD,
} from '../errors.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { recordChange } from '../logging/record-change.ts'
import { removeUser } from './removal.ts'
import { createUsers, recorded } from './repository.ts'
import { ownEmailRoute, ownPasswordRoute, ownUserRoute, removeOwnUserRoute } from './schemas.ts'

const resourceId = (request: FastifyRequest): string | undefined => request.principal?.id
const ownUser = { rbac: { authenticated: 'own user only' } } as const
/** With the current password this is full authentication. @see OWASP ASVS 5.0, 7.5.1 */
const freshFactor = { mfa: { maxAgeSeconds: 300, ifEnrolled: true } } as const

const emailChange = {
  schema: ownEmailRoute,
  config: { audit: { action: 'user.change_email', resourceId }, ...ownUser, ...freshFactor },
} as const
const passwordChange = {
  schema: ownPasswordRoute,
  config: { audit: { action: 'user.change_password', resourceId }, ...ownUser, ...freshFactor },
} as const
const ownRemoval = {
  schema: removeOwnUserRoute,
  config: {
    audit: { action: 'user.delete', phases: 'attempt+outcome', resourceId },
    ...ownUser,
    mfa: { maxAgeSeconds: 300 },
  },
} as const

/** The routes of the own account. */
export const ownAccount: FastifyPluginAsyncTypebox = async (app) => {
  const accounts = createAccounts(app.sql)

  app.get('/me', { schema: ownUserRoute, config: ownUser }, async (request, reply) => {
    const user = await createUsers(app.sql).find(request.principal!.id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/me/email', emailChange, async (request, reply) => {
    const { email, current } = request.body
    const user = await withPassword(app, request, async (id) =>
      (await accounts.hasPassword(id, current)) ? changeEmail(app, request, email) : null,
    )
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/me/password', passwordChange, async (request, reply) => {
    const { current, next } = request.body
    await withPassword(app, request, async (id) =>
      (await accounts.changePassword(id, current, next)) ? id : null,
    )
    // Someone who knew the old password may have a session.
    await app.sessions.revoke({ userId: request.principal!.id }, 'the password was changed')
    return reply.code(204).send(null)
  })

  app.delete('/me', ownRemoval, async (request, reply) => {
    await removeUser(app, request.principal!.id, request)
    return reply.code(204).send(null)
  })
}

/**
 * Runs a change that verifies the current password.
 *
 * @param change returns `null` if the password is wrong.
 * @throws PARAPET_REFERENCE_WRONG_PASSWORD, PARAPET_REFERENCE_TOO_MANY_PASSWORDS
 */
async function withPassword<T>(
  app: FastifyInstance,
  request: FastifyRequest,
  change: (userId: string) => Promise<T | null>,
): Promise<T> {
  const attempt = { userId: request.principal!.id, ip: request.ip }
  await requireAttempt(app, request, attempt)
  const changed = await change(attempt.userId)
  if (changed === null) {
    app.securityEvents.emit('users.password_refused', { details: {} }, request)
    throw new PARAPET_REFERENCE_WRONG_PASSWORD()
  }
  await forgetAttempts(app.store, attempt)
  return changed
}

async function requireAttempt(
  app: FastifyInstance,
  request: FastifyRequest,
  attempt: PasswordAttempt,
): Promise<void> {
  try {
    await countAttempt(app.store, attempt)
  } catch (error) {
    if (error instanceof PARAPET_REFERENCE_TOO_MANY_PASSWORDS) {
      app.securityEvents.emit('users.password_throttled', { details: {} }, request)
    }
    throw error
  }
}

/** A taken address counts as an attempt, so that few addresses can be tried. */
async function changeEmail(app: FastifyInstance, request: FastifyRequest, email: string) {
  const { id } = request.principal!
  const versions = readIfMatch(request.headers['if-match'])
  try {
    const change = recorded('user.change_email', id)
    const user = await recordChange(app.sql, request, change, async (sql) => {
      const table = createUsers(sql)
      const before = await table.lock(id)
      return { before, after: await table.update(id, { email }, versions) }
    })
    app.securityEvents.emit('users.email_changed', { details: {} }, request)
    return user
  } catch (error) {
    if (error instanceof PARAPET_REFERENCE_EMAIL_TAKEN) {
      app.securityEvents.emit('users.email_refused', { details: {} }, request)
    }
    throw error
  }
}
