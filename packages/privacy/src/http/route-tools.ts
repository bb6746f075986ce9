/** What the routes share. */
import type { Principal, PrincipalReader } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_PRIVACY_LOGIN_REQUIRED } from '../errors.ts'
import type { OfficerGuard, StepUp } from '../options.ts'
import type { PrivacyContext } from '../service/context.ts'
import type { Privacy } from '../service/privacy.ts'

/** What the routes need. */
export interface RouteParts {
  readonly context: PrivacyContext
  readonly privacy: Privacy
  readonly principalOf: PrincipalReader
  readonly stepUp: StepUp | undefined
  readonly officer: OfficerGuard
}

/** The caller. @throws PARAPET_PRIVACY_LOGIN_REQUIRED */
export function requireCaller({ principalOf }: RouteParts, request: FastifyRequest): Principal {
  const principal = principalOf(request)
  if (principal === null) throw new PARAPET_PRIVACY_LOGIN_REQUIRED()
  return principal
}

/** Responses name people: no cache may keep them. */
export function forbidCaching(app: FastifyInstance): void {
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
}
