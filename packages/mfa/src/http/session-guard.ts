/** Refuses principals without a session where a factor must be shown. */
import type { Principal } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { PARAPET_MFA_SESSION_REQUIRED } from '../errors.ts'

/** Returns the session of a principal. @throws PARAPET_MFA_SESSION_REQUIRED */
export type RequireSession = (principal: Principal) => string

/** Creates the guard. It logs the first refusal, because most often the login forgot the id. */
export function createSessionGuard(log: FastifyBaseLogger): RequireSession {
  let isLogged = false
  return ({ sessionId }) => {
    if (sessionId !== undefined) return sessionId
    if (!isLogged) {
      log.warn(
        'mfa refused a principal without "sessionId", because a proof belongs to a session. ' +
          'Return "sessionId" from the login or from the option "principal"; API keys have none.',
      )
    }
    isLogged = true
    throw new PARAPET_MFA_SESSION_REQUIRED()
  }
}
