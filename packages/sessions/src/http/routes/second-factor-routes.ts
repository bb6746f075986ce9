/** The routes for the second step of a login. */
import { acceptEmptyBody } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_SESSIONS_TICKET_REFUSED } from '../../errors.ts'
import type { SecondFactorProof } from '../../second-factor/second-factor.ts'
import type { Service } from '../../service/create-service.ts'
import type { TokenTransport } from '../send-tokens.ts'
import { createHostCookie, TICKET_COOKIE } from '../session-cookie.ts'
import { sendLogin, stepOf } from './login-routes.ts'
import { publicRoute } from './route-config.ts'
import { routeSchemas } from './schemas.ts'

/** What the routes need. */
export interface SecondFactorRouteSettings {
  readonly prefix: string
  readonly service: Service
  readonly transport: TokenTransport
}

/** The cookie with the ticket of a login at a provider. The page of the second step never sees it. */
export const ticketCookie = createHostCookie(TICKET_COOKIE, 'lax')

/** Registers `POST /login/second-factor` and its options under the prefix. */
export function registerSecondFactorRoutes(
  app: FastifyInstance,
  { prefix, service, transport }: SecondFactorRouteSettings,
): void {
  const config = publicRoute('the ticket of the first step is checked')
  const { secondStep } = service

  const options = { schema: routeSchemas.secondFactorOptions, config, onRequest: acceptEmptyBody }
  app.post(`${prefix}/login/second-factor/options`, options, async (request, reply) => {
    transport.requireSameOrigin(request)
    void reply.header('cache-control', 'no-store')
    return secondStep.options(requireTicket(request), stepOf(request, reply))
  })

  const finish = { schema: routeSchemas.secondFactor, config }
  app.post<{ Body: SecondFactorProof }>(
    `${prefix}/login/second-factor`,
    finish,
    async (request, reply) => {
      transport.requireSameOrigin(request)
      const { code, passkey, rememberDevice } = request.body
      const proof = {
        ...(code === undefined ? undefined : { code }),
        ...(passkey === undefined ? undefined : { passkey }),
        ...(rememberDevice === undefined ? undefined : { rememberDevice }),
      }
      const step = stepOf(request, reply)
      const grant = await secondStep.finish(requireTicket(request), proof, step)
      if (ticketCookie.read(request) !== undefined) ticketCookie.clear(reply)
      return sendLogin({ service, transport }, request, reply, grant)
    },
  )
}

/** @throws PARAPET_SESSIONS_TICKET_REFUSED */
function requireTicket(request: FastifyRequest): string {
  const body = request.body as { readonly ticket?: string } | null | undefined
  const ticket = body?.ticket ?? ticketCookie.read(request)
  if (ticket === undefined) throw new PARAPET_SESSIONS_TICKET_REFUSED()
  return ticket
}
