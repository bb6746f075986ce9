/** `/users`: registration, the own account, and the administration of users. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { useSecurityEvents } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { requireOtherAdmin } from '../access/administrators.ts'
import { freshFactor } from '../access/fresh-factor.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { idOf } from '../http/schemas.ts'
import { changes, recordChange } from '../logging/record-change.ts'
import { actingAs } from '../storage/row-security.ts'
import { events } from './events.ts'
import { operator } from './operator.ts'
import { ownAccount } from './own-account.ts'
import { userRegistration } from './registration.ts'
import { removeUser } from './removal.ts'
import { createUsers, recorded } from './repository.ts'
import { User, userRolesRoute, userRoutes } from './schemas.ts'
import { schedulePurge } from './unverified.ts'

/** The policy compares only the id of a user, so no row is read. */
const resource = (request: FastifyRequest) => ({ id: idOf(request) })
/** A change that cannot be undone is recorded before the attempt, too. */
const irreversible = (action: string) =>
  ({ ...changes(action), phases: 'attempt+outcome' }) as const

const list = { schema: userRoutes.list, config: { rbac: 'users:list' } } as const
const reading = {
  schema: userRoutes.get,
  config: { rbac: { permission: 'users:read', resource } },
} as const
const change = {
  schema: userRoutes.change,
  config: { audit: changes('user.update'), rbac: { permission: 'users:write', resource } },
} as const
const grant = {
  schema: userRolesRoute,
  config: {
    audit: irreversible('user.grant'),
    rbac: { permission: 'users:grant', resource },
    mfa: freshFactor,
  },
} as const
const removal = {
  schema: userRoutes.remove,
  config: {
    audit: irreversible('user.delete'),
    rbac: { permission: 'users:delete', resource },
    mfa: freshFactor,
  },
} as const

/** The routes of users. */
export const users: FastifyPluginAsyncTypebox = async (app) => {
  useSecurityEvents(app, events)
  schedulePurge(app)
  app.addSchema(User)
  await app.register(userRegistration)
  await app.register(ownAccount)
  await app.register(operator)

  app.get('', list, ({ principal, query }) =>
    actingAs(app.sql, principal, (sql) => createUsers(sql).list(query)),
  )

  app.get('/:id', reading, async (request, reply) => {
    const { principal } = request
    const user = await actingAs(app.sql, principal, (sql) => createUsers(sql).find(idOf(request)))
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.patch('/:id', change, async (request, reply) => {
    const id = idOf(request)
    const user = await recordChange(app.sql, request, recorded('user.update', id), async (sql) => {
      const table = createUsers(sql)
      const before = await table.lock(id)
      const versions = readIfMatch(request.headers['if-match'])
      return { before, after: await table.update(id, request.body, versions) }
    })
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.put('/:id/roles', grant, async (request, reply) => {
    const id = idOf(request)
    const { roles } = request.body
    const user = await recordChange(app.sql, request, recorded('user.grant', id), async (sql) => {
      if (!roles.includes('admin')) await requireOtherAdmin(sql, id)
      const table = createUsers(sql)
      const before = await table.lock(id)
      const versions = readIfMatch(request.headers['if-match'])
      return { before, after: await table.update(id, { roles }, versions) }
    })
    await app.sessions.userChanged(id)
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.delete('/:id', removal, async (request, reply) => {
    await removeUser(app, idOf(request), request)
    return reply.code(204).send(null)
  })
}
