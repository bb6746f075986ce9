/** Refuses requests without a `Host` header, with several, or with an invalid one. @see RFC 9112, section 3.2 */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { PARAPET_REFERENCE_INVALID_HOST } from '../errors.ts'

/** A registered name, an IPv4 address or an IPv6 address, and a port. @see RFC 3986, section 3.2.2 */
const HOST = /^(?:(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2}){1,255}|\[[\da-f:.]{2,45}\])(?::\d{0,5})?$/i

/** HTTP/1.0 has no `Host`; of several, Node keeps only the first. */
function hasValidHost({ headers: { host }, rawHeaders, httpVersion }: IncomingMessage): boolean {
  if (host === undefined ? httpVersion !== '1.0' : !HOST.test(host)) return false
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
