/** The routes with which users list and end their own sessions. */
import { acceptEmptyBody } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  PARAPET_SESSIONS_IMPERSONATED,
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from '../../errors.ts'
import type { Service } from '../../service/create-service.ts'
import type { AccessToken } from '../../tokens/access-token.ts'
import { ownRoute } from './route-config.ts'
import { routeSchemas } from './schemas.ts'

/** Registers `GET` and `DELETE /sessions`, `PATCH` and `DELETE /sessions/:id` under the prefix. */
export function registerOwnSessionsRoutes(
  app: FastifyInstance,
  prefix: string,
  { sessions, logins }: Service,
): void {
  const config = ownRoute('own sessions only')

  const list = { schema: routeSchemas.list, config }
  app.get(`${prefix}/sessions`, list, async (request, reply) => {
    const { user, sessionId } = requireToken(request)
    const views = await sessions.list(user.id)
    void reply.header('cache-control', 'no-store')
    return {
      sessions: views.map(({ amr, ...view }) => ({
        ...view,
        amr: [...amr],
        current: view.id === sessionId,
      })),
    }
  })

  const endOthers = { schema: routeSchemas.endOthers, config, onRequest: acceptEmptyBody }
  app.delete(`${prefix}/sessions`, endOthers, async (request, reply) => {
    const { user, sessionId } = requireOwnToken(request)
    await sessions.revoke({ userId: user.id, exceptSessionId: sessionId }, 'by the user')
    return reply.code(204).send(null)
  })

  const rename = { schema: routeSchemas.nameDevice, config }
  app.patch<{ Params: { readonly id: string }; Body: { readonly name: string } }>(
    `${prefix}/sessions/:id`,
    rename,
    async (request, reply) => {
      const { user } = requireOwnToken(request)
      const isNamed = await sessions.nameDevice(user.id, request.params.id, request.body.name)
      if (!isNamed) throw new PARAPET_SESSIONS_NOT_FOUND()
      return reply.code(204).send(null)
    },
  )

  const endOne = { schema: routeSchemas.endOne, config, onRequest: acceptEmptyBody }
  app.delete<{ Params: { readonly id: string } }>(
    `${prefix}/sessions/:id`,
    endOne,
    async (request, reply) => {
      const { user } = requireOwnToken(request)
      await logins.endOwnSession(user.id, request.params.id, request)
      return reply.code(204).send(null)
    },
  )
}

/** An operator who acts as a user leaves the sessions of the user alone. @throws PARAPET_SESSIONS_IMPERSONATED */
export function requireOwnToken(request: FastifyRequest): AccessToken {
  const token = requireToken(request)
  if (token.actorId !== undefined) throw new PARAPET_SESSIONS_IMPERSONATED()
  return token
}

/** An API key, or a login of another plugin, has no session. @throws PARAPET_SESSIONS_UNAUTHENTICATED */
function requireToken({ sessions: token }: FastifyRequest): AccessToken {
  if (token === null) throw new PARAPET_SESSIONS_UNAUTHENTICATED()
  return token
}
