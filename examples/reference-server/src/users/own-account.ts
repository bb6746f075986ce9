/** `/users/me`: the own account. Its password and address have routes of sessions, under `/auth`. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { etagOf } from '../http/etag.ts'
import { actingAs } from '../storage/row-security.ts'
import { removeUser } from './removal.ts'
import { createUsers } from './repository.ts'
import { ownRightsRoute, ownUserRoute, removeOwnUserRoute } from './schemas.ts'

const resourceId = (request: FastifyRequest): string | undefined => request.principal?.id
const ownUser = { rbac: { authenticated: 'own user only' } } as const
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
  app.get('/me', { schema: ownUserRoute, config: ownUser }, async (request, reply) => {
    const { id } = request.principal!
    const user = await actingAs(app.sql, request.principal, (sql) => createUsers(sql).find(id))
    return reply.header('etag', etagOf(user)).send(user)
  })

  app.get('/me/rights', { schema: ownRightsRoute, config: ownUser }, ({ principal, ip }) =>
    app.rbac.pack(principal!, { environment: { ip } }),
  )

  app.delete('/me', ownRemoval, async (request, reply) => {
    await removeUser(app, request.principal!.id, request)
    return reply.code(204).send(null)
  })
}
