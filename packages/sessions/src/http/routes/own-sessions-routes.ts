/** The routes with which users list and end their own sessions. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_SESSIONS_UNAUTHENTICATED } from '../../errors.ts'
import type { Service } from '../../service/create-service.ts'
import type { AccessToken } from '../../tokens/access-token.ts'
import { acceptEmptyBody } from './empty-body.ts'
import { ownRoute } from './route-config.ts'
import { routeSchemas } from './schemas.ts'

/** Registers `GET /sessions`, `DELETE /sessions` and `DELETE /sessions/:id` under the prefix. */
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
    const { user, sessionId } = requireToken(request)
    await sessions.revoke({ userId: user.id, exceptSessionId: sessionId }, 'by the user')
    return reply.code(204).send(null)
  })

  const endOne = { schema: routeSchemas.endOne, config, onRequest: acceptEmptyBody }
  app.delete<{ Params: { readonly id: string } }>(
    `${prefix}/sessions/:id`,
    endOne,
    async (request, reply) => {
      const { user } = requireToken(request)
      await logins.endOwnSession(user.id, request.params.id, request)
      return reply.code(204).send(null)
    },
  )
}

/** An API key, or a login of another plugin, has no session. @throws PARAPET_SESSIONS_UNAUTHENTICATED */
function requireToken({ sessions: token }: FastifyRequest): AccessToken {
  if (token === null) throw new PARAPET_SESSIONS_UNAUTHENTICATED()
  return token
}
