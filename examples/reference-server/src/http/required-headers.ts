/** Adds what a status needs, if the plugin that refused the request did not. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const RETRY_AFTER_SECONDS = '5'

async function requiredHeadersPlugin(app: FastifyInstance): Promise<void> {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    const { statusCode } = reply
    // A plugin may know a better time. @see RFC 9110, section 10.2.3
    if (statusCode === 503 && !reply.hasHeader('retry-after')) {
      void reply.header('retry-after', RETRY_AFTER_SECONDS)
    }
    // The routes of the login, too, whose body is wrong. @see RFC 9110, section 15.5.2
    if (statusCode === 401 && !reply.hasHeader('www-authenticate')) {
      void reply.header('www-authenticate', 'Bearer')
    }
    done()
  })
}

/** Adds `Retry-After` to every 503, and `WWW-Authenticate` to every 401. */
export const requiredHeaders = fp(requiredHeadersPlugin, {
  name: 'required-headers',
  fastify: '5.x',
})
