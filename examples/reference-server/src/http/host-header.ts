/** Refuses requests with several `Host` headers or an invalid one. @see RFC 9112, section 3.2 */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { PARAPET_REFERENCE_INVALID_HOST } from '../errors.ts'

/** A registered name, an IPv4 address or an IPv6 address, and a port. @see RFC 3986, section 3.2.2 */
const HOST = /^(?:(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2}){1,255}|\[[\da-f:.]{2,45}\])(?::\d{0,5})?$/i

/** Node refuses a missing `Host` of HTTP/1.1, and keeps only the first of several. */
function hasValidHost({ headers: { host }, rawHeaders }: IncomingMessage): boolean {
  if (host !== undefined && !HOST.test(host)) return false
  let hosts = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  return hosts <= 1
}

async function hostHeaderPlugin(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', (request, _reply, done) => {
    done(hasValidHost(request.raw) ? undefined : new PARAPET_REFERENCE_INVALID_HOST())
  })
}

/** Register it after the plugins that record requests and set the headers of responses. */
export const hostHeader = fp(hostHeaderPlugin, { name: 'host-header', fastify: '5.x' })
