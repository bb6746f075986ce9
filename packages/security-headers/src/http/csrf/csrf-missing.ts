/** `reply.csrfToken` without the option `csrf`. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_SECURITY_HEADERS_NO_TOKEN } from '../../errors.ts'

/** Adds a `reply.csrfToken` that throws, so that no page is sent with an empty token. */
export function addMissingCsrf(app: FastifyInstance): void {
  app.decorateReply('csrfToken', { getter: throwNoToken } as never)
}

function throwNoToken(): never {
  throw new PARAPET_SECURITY_HEADERS_NO_TOKEN(
    'the option "csrf" is not set; set it with a secret of at least 32 characters',
  )
}
