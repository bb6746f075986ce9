/** The routes of a user who is logged in and goes to a provider: to link an identity, to step up, to log out. */
import { acceptEmptyBody } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Service } from '../../service/create-service.ts'
import type { CredentialReader } from '../bearer-token.ts'
import type { TokenTransport } from '../send-tokens.ts'
import { identitySchemas } from './identity-schemas.ts'
import { rememberLogin } from './oidc-routes.ts'
import { requireOwnToken } from './own-sessions-routes.ts'
import { ownRoute, publicRoute } from './route-config.ts'

/** What the routes need. */
export interface IdentityRouteSettings {
  readonly prefix: string
  readonly service: Service
  readonly transport: TokenTransport
  readonly readCredential: CredentialReader
  /** Whether identities can be linked. */
  readonly hasLinks: boolean
}

interface Visit {
  readonly Params: { readonly provider: string }
  readonly Body: { readonly returnTo?: string } | null | undefined
}

/** Registers the routes under the prefix. */
export function registerIdentityRoutes(
  app: FastifyInstance,
  settings: IdentityRouteSettings,
): void {
  registerStepUp(app, settings)
  registerLogout(app, settings)
  if (settings.hasLinks) registerLinks(app, settings)
}

function registerStepUp(app: FastifyInstance, { prefix, service }: IdentityRouteSettings): void {
  const config = ownRoute('own session only')
  const options = { schema: identitySchemas.stepUp, config, onRequest: acceptEmptyBody }
  app.post<Visit>(`${prefix}/oidc/:provider/step-up`, options, async (request, reply) => {
    const { provider } = request.params
    const token = requireOwnToken(request)
    const { returnTo = '/' } = request.body ?? {}
    const visit = await service.ownIdentities.startStepUp(token, provider, returnTo)
    rememberLogin(request, reply, visit)
    return { url: visit.url }
  })
}

function registerLogout(app: FastifyInstance, settings: IdentityRouteSettings): void {
  const { prefix, service, transport, readCredential } = settings
  const config = publicRoute('the refresh token is checked')
  const options = { schema: identitySchemas.logout, config, onRequest: acceptEmptyBody }
  app.post<{ Body: Visit['Body'] }>(
    `${prefix}/logout/provider`,
    options,
    async (request, reply) => {
      transport.requireSameOrigin(request)
      const refreshToken = transport.refreshTokenOf(request)
      const accessToken = readCredential(request)
      const { returnTo = '/' } = request.body ?? {}
      // First, because the browser must forget its tokens even while the store is down.
      transport.forget(reply)
      const credentials = { refreshToken, accessToken }
      return { url: await service.logins.logOutAtProvider(credentials, returnTo, request) }
    },
  )

  const back = { schema: identitySchemas.loggedOut, config: publicRoute('the state is checked') }
  app.get<{ Params: Visit['Params']; Querystring: { readonly state?: string } }>(
    `${prefix}/oidc/:provider/logged-out`,
    back,
    async (request, reply) => {
      service.logins.requireProvider(request.params.provider)
      const path = service.logins.pathAfterLogout(request.query.state ?? null)
      return reply.header('cache-control', 'no-store').redirect(path, 303)
    },
  )
}

function registerLinks(app: FastifyInstance, { prefix, service }: IdentityRouteSettings): void {
  const config = ownRoute('own links only')
  const { ownIdentities, identities } = service

  const list = { schema: identitySchemas.list, config }
  app.get(`${prefix}/identities`, list, async (request, reply) => {
    const { user } = requireOwnToken(request)
    void reply.header('cache-control', 'no-store')
    return { identities: await identities.listIdentities(user.id) }
  })

  const start = { schema: identitySchemas.link, config, onRequest: acceptEmptyBody }
  app.post<Visit>(`${prefix}/identities/:provider`, start, async (request, reply) => {
    const { provider } = request.params
    const token = requireOwnToken(request)
    const { returnTo = '/' } = request.body ?? {}
    const visit = await ownIdentities.startLink(token, provider, returnTo, request)
    rememberLogin(request, reply, visit)
    return { url: visit.url }
  })

  const remove = { schema: identitySchemas.unlink, config, onRequest: acceptEmptyBody }
  app.delete<{ Params: { readonly id: string } }>(
    `${prefix}/identities/:id`,
    remove,
    async (request, reply) => {
      await ownIdentities.unlink(requireOwnToken(request), request.params.id, request)
      return reply.code(204).send(null)
    },
  )
}
