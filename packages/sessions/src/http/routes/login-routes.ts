/** The routes to log in with a password, to refresh and to log out. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { PARAPET_SESSIONS_REFRESH_REFUSED } from '../errors.ts'
import type { CredentialCheck } from '../passwords/password-check.ts'
import type { Service } from '../service/create-service.ts'
import type { CredentialReader } from './bearer-token.ts'
import { routeSchemas } from './schemas.ts'
import type { TokenTransport } from './send-tokens.ts'

/** What the login routes need. */
export interface LoginRouteSettings {
  readonly prefix: string
  /** `undefined`: there is no login route. */
  readonly credentials: CredentialCheck | undefined
  readonly service: Service
  readonly transport: TokenTransport
  readonly readCredential: CredentialReader
}

/** Registers `POST /login`, `POST /refresh` and `POST /logout` under the prefix. */
export function registerLoginRoutes(app: FastifyInstance, settings: LoginRouteSettings): void {
  const { prefix, credentials, service, transport, readCredential } = settings
  const { sessions, logins } = service
  const routes = app.withTypeProvider<TypeBoxTypeProvider>()
  const config = { sessions: 'ignored' } as const

  if (credentials !== undefined) {
    const schema = routeSchemas.login
    routes.post(`${prefix}/login`, { schema, config }, async (request, reply) => {
      transport.requireSameOrigin(request)
      const replaced = transport.refreshTokenOf(request)
      const grant = await logins.logIn(credentials, request.body, replaced, request)
      return transport.hand(reply, grant)
    })
  }

  const refresh = { schema: routeSchemas.refresh, config }
  routes.post(`${prefix}/refresh`, refresh, async (request, reply) => {
    transport.requireSameOrigin(request)
    const refreshToken = transport.refreshTokenOf(request)
    if (refreshToken === undefined) throw new PARAPET_SESSIONS_REFRESH_REFUSED()
    return transport.hand(reply, await sessions.refresh(refreshToken, request))
  })

  const logout = { schema: routeSchemas.logout, config }
  routes.post(`${prefix}/logout`, logout, async (request, reply) => {
    transport.requireSameOrigin(request)
    const refreshToken = transport.refreshTokenOf(request)
    await logins.logOut({ refreshToken, accessToken: readCredential(request) }, request)
    transport.forget(reply)
    return reply.code(204).send(null)
  })
}
