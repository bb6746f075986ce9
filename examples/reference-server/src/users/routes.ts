/** `/users`: who writes. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_WRONG_PASSWORD } from '../errors.ts'
import { etagOf, readIfMatch } from '../etag.ts'
import { idOf } from '../schemas.ts'
import { createAccounts } from '../sessions.ts'
import type { Table } from '../table.ts'
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

/** What is recorded of a change; what cannot be undone is recorded before it is tried, too. */
const recorded = {
  create: { audit: 'user.create' },
  update: { audit: 'user.update' },
  grant: { audit: { action: 'user.grant', phases: 'attempt+outcome' } },
  remove: { audit: { action: 'user.delete', phases: 'attempt+outcome' } },
} as const

/** The policy asks about a user's id only, so no row has to be read. */
const resource = (request: FastifyRequest) => ({ id: idOf(request) })
const own = { rbac: { authenticated: 'the own account only' } } as const

const registration = {
  schema: userRoutes.create,
  config: { ...recorded.create, rbac: { public: 'everybody may register' } },
} as const
const list = { schema: userRoutes.list, config: { rbac: 'users:list' } } as const
const reading = {
  schema: userRoutes.get,
  config: { rbac: { permission: 'users:read', resource } },
} as const
const change = {
  schema: userRoutes.change,
  config: { ...recorded.update, rbac: { permission: 'users:write', resource } },
} as const
const grant = {
  schema: userRolesRoute,
  config: { ...recorded.grant, rbac: { permission: 'users:grant', resource } },
} as const
const removal = {
  schema: userRoutes.remove,
  config: { ...recorded.remove, rbac: { permission: 'users:delete', resource } },
} as const
const passwordChange = {
  schema: ownPasswordRoute,
  config: { audit: 'user.change_password', ...own },
} as const
const ownRemoval = {
  schema: removeOwnUserRoute,
  config: { ...recorded.remove, ...own, mfa: { maxAgeSeconds: 300 } },
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
    await end(app, id)
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
  app.get('/me', { schema: ownUserRoute, config: own }, async (request, reply) => {
    const user = await repository.find(request.principal!.id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/me/password', passwordChange, async (request, reply) => {
    const { id } = request.principal!
    const { current, next } = request.body
    const changed = await createAccounts(app.sql).changePassword(id, current, next)
    if (!changed) throw new PARAPET_REFERENCE_WRONG_PASSWORD()
    // Whoever knew the old one may be logged in.
    await app.sessions.revoke({ userId: id }, 'the password was changed')
    return reply.code(204).send(null)
  })

  app.delete('/me', ownRemoval, async (request, reply) => {
    const { id } = request.principal!
    await repository.remove(id, readIfMatch(request.headers['if-match']))
    await end(app, id)
    return reply.code(204).send(null)
  })
}

/** What the plugins keep of a user who is gone. */
async function end(app: App, id: string): Promise<void> {
  await app.sessions.disableUser(id)
  await app.mfa.forget(id)
}
