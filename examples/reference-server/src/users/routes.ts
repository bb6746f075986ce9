/** `/users`: registration, the own account, and the administration of users. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { hashPassword } from '@parapet/sessions'
import type { FastifyRequest } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
import { requireOtherAdmin } from '../access/administrators.ts'
import { PARAPET_REFERENCE_WRONG_PASSWORD } from '../errors.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { idOf } from '../http/schemas.ts'
import type { Table } from '../storage/table.ts'
import { createUsers } from './repository.ts'
import {
  ownPasswordRoute,
  ownUserRoute,
  removeOwnUserRoute,
  User,
  userRolesRoute,
  userRoutes,
  type UserValues,
} from './schemas.ts'

type App = Parameters<FastifyPluginAsyncTypebox>[0]
type Users = Table<UserValues>

/** The audit rules. Changes that cannot be undone are recorded before the attempt, too. */
const audited = {
  create: { audit: 'user.create' },
  update: { audit: 'user.update' },
  grant: { audit: { action: 'user.grant', phases: 'attempt+outcome' } },
  remove: { audit: { action: 'user.delete', phases: 'attempt+outcome' } },
} as const

/** The policy compares only the id of a user, so no row is read. */
const resource = (request: FastifyRequest) => ({ id: idOf(request) })
const ownUser = { rbac: { authenticated: 'own user only' } } as const

const registration = {
  schema: userRoutes.create,
  config: { ...audited.create, rbac: { public: 'anyone may register' } },
} as const
const list = { schema: userRoutes.list, config: { rbac: 'users:list' } } as const
const reading = {
  schema: userRoutes.get,
  config: { rbac: { permission: 'users:read', resource } },
} as const
const change = {
  schema: userRoutes.change,
  config: { ...audited.update, rbac: { permission: 'users:write', resource } },
} as const
const grant = {
  schema: userRolesRoute,
  config: { ...audited.grant, rbac: { permission: 'users:grant', resource } },
} as const
const removal = {
  schema: userRoutes.remove,
  config: { ...audited.remove, rbac: { permission: 'users:delete', resource } },
} as const
const passwordChange = {
  schema: ownPasswordRoute,
  config: { audit: 'user.change_password', ...ownUser },
} as const
const ownRemoval = {
  schema: removeOwnUserRoute,
  config: { ...audited.remove, ...ownUser, mfa: { maxAgeSeconds: 300 } },
} as const

/** The routes of users. */
export const users: FastifyPluginAsyncTypebox = async (app) => {
  const repository = createUsers(app.sql)
  app.addSchema(User)
  addRegistration(app, repository)
  addOwnRoutes(app, repository)

  app.get('', list, (request) => repository.list(request.query))

  app.get('/:id', reading, async (request, reply) => {
    const user = await repository.find(idOf(request))
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.patch('/:id', change, async (request, reply) => {
    const versions = readIfMatch(request.headers['if-match'])
    const user = await repository.update(idOf(request), request.body, versions)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/:id/roles', grant, async (request, reply) => {
    const id = idOf(request)
    const versions = readIfMatch(request.headers['if-match'])
    const user = await app.sql.transaction(async (sql) => {
      if (!request.body.roles.includes('admin')) await requireOtherAdmin(sql, id)
      return createUsers(sql).update(id, request.body, versions)
    })
    await app.sessions.userChanged(id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.delete('/:id', removal, async (request, reply) => {
    await removeUser(app, idOf(request), request)
    return reply.code(204).send(null)
  })
}

function addRegistration(app: App, repository: Users): void {
  app.post('', registration, async (request, reply) => {
    const { password, ...values } = request.body
    // One statement: a crash must not leave an account whose owner can neither log in nor register.
    const hash = password === undefined ? null : await hashPassword(password)
    const user = await repository.insert(values, undefined, { password_hash: hash })
    const location = `/users/${user.id}`
    return reply
      .code(201)
      .headers({ location, etag: etagOf(user) })
      .send(user)
  })
}

function addOwnRoutes(app: App, repository: Users): void {
  app.get('/me', { schema: ownUserRoute, config: ownUser }, async (request, reply) => {
    const user = await repository.find(request.principal!.id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/me/password', passwordChange, async (request, reply) => {
    const { id } = request.principal!
    const { current, next } = request.body
    const changed = await createAccounts(app.sql).changePassword(id, current, next)
    if (!changed) throw new PARAPET_REFERENCE_WRONG_PASSWORD()
    // Someone who knew the old password may have a session.
    await app.sessions.revoke({ userId: id }, 'the password was changed')
    return reply.code(204).send(null)
  })

  app.delete('/me', ownRemoval, async (request, reply) => {
    await removeUser(app, request.principal!.id, request)
    return reply.code(204).send(null)
  })
}

/** Deletes a user, revokes the sessions and deletes the second factors. */
async function removeUser(app: App, id: string, { headers }: FastifyRequest): Promise<void> {
  await app.sql.transaction(async (sql) => {
    await requireOtherAdmin(sql, id)
    await createUsers(sql).remove(id, readIfMatch(headers['if-match']))
  })
  await app.sessions.disableUser(id)
  await app.mfa.forget(id)
}
