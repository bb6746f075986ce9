/** The route of the public keys. */
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { PublishedKey } from '../../keys/jwk.ts'
import type { SessionOperations } from '../../service/operations.ts'
import { publicRoute } from './route-config.ts'
import { routeSchemas } from './schemas.ts'

/** How long others may cache the keys: publish a new key as `next` at least this long before it signs. */
const MAX_AGE_SECONDS = 300

/** Registers `GET /.well-known/jwks.json`. @see RFC 7517, section 5 */
export function registerJwksRoute(
  app: FastifyInstance,
  sessions: Pick<SessionOperations, 'jwks'>,
): void {
  const options = { schema: routeSchemas.jwks, config: publicRoute('public keys') }
  app.get('/.well-known/jwks.json', options, async (request, reply) => {
    const { keys } = sessions.jwks()
    const etag = etagOf(keys)
    void reply.headers({ etag, 'cache-control': `public, max-age=${MAX_AGE_SECONDS}` })
    const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim())
    if (known?.some((tag) => tag === '*' || tag.replace(/^W\//, '') === etag) === true) {
      return reply.code(304).send(null)
    }
    return { keys: [...keys] }
  })
}

function etagOf(keys: readonly PublishedKey[]): string {
  const ids = keys.map(({ kid }) => kid).join()
  return `"${createHash('sha256').update(ids).digest('base64url').slice(0, 22)}"`
}
