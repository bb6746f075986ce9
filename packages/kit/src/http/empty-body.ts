/** Requests that announce JSON and have no body. */
import type { FastifyRequest } from 'fastify'

/**
 * An `onRequest` hook: many clients send `content-type: application/json` with every request. Where the body is
 * optional, an empty one is no error.
 *
 * @see RFC 9112, section 6.3: without these headers a request has no body
 */
export async function acceptEmptyBody({ headers }: FastifyRequest): Promise<void> {
  const length = headers['content-length'] ?? '0'
  if (length === '0' && headers['transfer-encoding'] === undefined) delete headers['content-type']
}
