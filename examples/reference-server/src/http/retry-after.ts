/** Says when to try again after a 503, whatever dependency is away. @see RFC 9110, section 10.2.3 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const SECONDS = '5'

async function retryAfterPlugin(app: FastifyInstance): Promise<void> {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    // A plugin may know a better time.
    if (reply.statusCode === 503 && !reply.hasHeader('retry-after')) {
      reply.header('retry-after', SECONDS)
    }
    done()
  })
}

/** Adds `Retry-After` to every response with the status 503. */
export const retryAfter = fp(retryAfterPlugin, { name: 'retry-after', fastify: '5.x' })
