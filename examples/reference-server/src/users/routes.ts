/** `/users`: registration, the own account, and the administration of users. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
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
    const user = await repository.find(request.params.id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.patch('/:id', change, async (request, reply) => {
    const versions = readIfMatch(request.headers['if-match'])
    const user = await repository.update(request.params.id, request.body, versions)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/:id/roles', grant, async (request, reply) => {
    const id = idOf(request)
    const versions = readIfMatch(request.headers['if-match'])
    const user = await repository.update(id, request.body, versions)
    await app.sessions.userChanged(id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.delete('/:id', removal, async (request, reply) => {
    const id = idOf(request)
    await repository.remove(id, readIfMatch(request.headers['if-match']))
    await removePluginData(app, id)
    return reply.code(204).send(null)
  })
}

function addRegistration(app: App, repository: Users): void {
  const accounts = createAccounts(app.sql)
  app.post('', registration, async (request, reply) => {
    const { password, ...values } = request.body
    const user = await repository.insert(values)
    if (password !== undefined) await accounts.setPassword(user.id, password)
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
    const { id } = request.principal!
    await repository.remove(id, readIfMatch(request.headers['if-match']))
    await removePluginData(app, id)
    return reply.code(204).send(null)
  })
}

/** Revokes the sessions and deletes the second factors of a deleted user. */
async function removePluginData(app: App, id: string): Promise<void> {
  await app.sessions.disableUser(id)
  await app.mfa.forget(id)
}
