/** `/users/:id/…`: what an operator does to the account of another user. The notices to the user are in `mail/`. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { requireOtherLogin } from '../access/administrators.ts'
import { freshFactor } from '../access/fresh-factor.ts'
import { createAccounts } from '../access/accounts.ts'
import { PARAPET_REFERENCE_NOT_FOUND, PARAPET_REFERENCE_UNTIL_PASSED } from '../errors.ts'
import { idOf } from '../http/schemas.ts'
import { changes } from '../logging/record-change.ts'
import { operatorRoutes } from './operator-schemas.ts'

type App = Parameters<FastifyPluginAsyncTypebox>[0]

const rbac = {
  permission: 'users:operate',
  resource: (request: FastifyRequest) => ({ id: idOf(request) }),
} as const

/** Recorded before the attempt, too; what the operator has enrolled must have been shown recently. */
const acting = (action: string, fresh: object = {}) =>
  ({
    audit: { ...changes(action), phases: 'attempt+outcome' },
    rbac,
    mfa: { ...freshFactor, ...fresh },
  }) as const

/** The routes. */
export const operator: FastifyPluginAsyncTypebox = async (app) => {
  const accounts = createAccounts(app.sql)
  const requireUser = async (request: FastifyRequest): Promise<string> => {
    const id = idOf(request)
    if ((await accounts.findUser(id)) === null) throw new PARAPET_REFERENCE_NOT_FOUND()
    return id
  }
  addLock(app, requireUser)
  addRequirements(app, requireUser)
  addImpersonation(app, requireUser)
}

type RequireUser = (request: FastifyRequest) => Promise<string>

/** Who acts, and why: rbac has required a principal. */
const by = ({ principal }: FastifyRequest) => ({ by: principal!.id })

function addLock(app: App, requireUser: RequireUser): void {
  const { status, lock, unlock } = operatorRoutes
  app.get('/:id/account-status', { schema: status, config: { rbac } }, async (request) => {
    const { locked, ...rest } = await app.sessions.accountStatus(await requireUser(request))
    if (locked === null) return { ...rest, locked }
    const until = locked.until === null ? null : new Date(locked.until).toISOString()
    return { ...rest, locked: { ...locked, until, at: new Date(locked.at).toISOString() } }
  })

  const locking = { schema: lock, config: acting('user.lock') }
  app.put('/:id/lock', locking, async (request, reply) => {
    const id = await requireUser(request)
    const { reason, until } = request.body
    const end = until === undefined ? null : Date.parse(until)
    if (end !== null && end <= Date.now()) throw new PARAPET_REFERENCE_UNTIL_PASSED()
    await app.sessions.lockAccount(id, { reason, until: end, ...by(request) }, request)
    await requireOtherLogin(app, id)
    return reply.code(204).send(null)
  })

  const unlocking = { schema: unlock, config: acting('user.unlock') }
  app.delete('/:id/lock', unlocking, async (request, reply) => {
    const action = { reason: 'by an administrator', ...by(request) }
    await app.sessions.unlockAccount(await requireUser(request), action, request)
    return reply.code(204).send(null)
  })
}

function addRequirements(app: App, requireUser: RequireUser): void {
  const { requireReset, forceFactor, liftFactor } = operatorRoutes

  const resetting = { schema: requireReset, config: acting('user.require_password_reset') }
  app.post('/:id/password-reset', resetting, async (request, reply) => {
    const action = { reason: request.body.reason, ...by(request) }
    await app.sessions.requirePasswordReset(await requireUser(request), action, request)
    return reply.code(204).send(null)
  })

  const path = '/:id/second-factor-requirement'
  const forcing = { schema: forceFactor, config: acting('user.force_second_factor') }
  app.put(path, forcing, async (request, reply) => {
    const action = { reason: request.body.reason, ...by(request) }
    await app.sessions.forceSecondFactor(await requireUser(request), action, request)
    return reply.code(204).send(null)
  })

  const lifting = { schema: liftFactor, config: acting('user.lift_second_factor') }
  app.delete(path, lifting, async (request, reply) => {
    const action = { reason: 'by an administrator', ...by(request) }
    await app.sessions.liftSecondFactor(await requireUser(request), action, request)
    return reply.code(204).send(null)
  })
}

function addImpersonation(app: App, requireUser: RequireUser): void {
  const { impersonate, endImpersonation } = operatorRoutes
  const path = '/:id/impersonation'

  const beginning = {
    schema: impersonate,
    config: acting('user.impersonate', { maxAgeSeconds: 300 }),
  }
  app.post(path, beginning, async (request, reply) => {
    const id = await requireUser(request)
    const { sessions: token } = request
    // An API key has no session that could end the impersonation with it.
    if (token === null) throw new PARAPET_REFERENCE_NOT_FOUND()
    const { reason, minutes = 15 } = request.body
    const impersonation = { reason, maxAgeMs: minutes * 60_000 }
    const grant = await app.sessions.impersonate(token, id, impersonation, request)
    const handed = app.sessions.hand(reply, grant)
    // The cookies of the operator are overwritten, so nobody could end that session.
    if (handed.access_token === undefined) {
      await app.sessions.revoke({ sessionId: token.sessionId }, 'the operator acts as a user')
    }
    return reply.code(201).send(handed)
  })

  const ending = { schema: endImpersonation, config: acting('user.end_impersonation') }
  app.delete(path, ending, async (request, reply) => {
    const sessions = await app.sessions.list(await requireUser(request))
    const own = sessions.filter(({ actorId }) => actorId === request.principal!.id)
    for (const { id } of own) {
      await app.sessions.revoke({ sessionId: id }, 'the operator ended the impersonation')
    }
    return reply.code(204).send(null)
  })
}
