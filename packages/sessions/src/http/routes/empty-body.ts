/** Requests that announce JSON and have no body. */
import type { FastifyRequest } from 'fastify'

/**
 * A route hook: many clients send `content-type: application/json` with every POST. Where the body is
 * optional, an empty one is no error.
 */
export async function acceptEmptyBody({ headers }: FastifyRequest): Promise<void> {
  if (headers['content-length'] === '0') delete headers['content-type']
}
