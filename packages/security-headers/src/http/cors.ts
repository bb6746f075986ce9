/** Answers preflight requests and sets the CORS headers of other responses. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CompiledCors } from '../cors/cors.ts'
import { addVary, PREFLIGHT_VARY } from '../cors/vary.ts'
import type { ReplyHeaders } from './replies/services.ts'

/** @returns whether the request was a preflight; the response is then sent. */
export function applyCors(
  request: FastifyRequest,
  reply: FastifyReply,
  cors: CompiledCors,
  set: ReplyHeaders['set'],
): boolean {
  const { headers, method } = request
  const { origin } = headers
  const requestMethod = headers['access-control-request-method']
  if (method === 'OPTIONS' && origin !== undefined && requestMethod !== undefined) {
    const granted = cors.preflight({
      origin,
      requestMethod,
      requestHeaders: headers['access-control-request-headers'],
      privateNetwork: headers['access-control-request-private-network'] === 'true',
    })
    for (const [name, value] of granted ?? []) set(reply, name, value)
    set(reply, 'vary', PREFLIGHT_VARY)
    void reply.code(granted === null ? 403 : 204).send()
    return true
  }
  if (cors.varies) {
    const before = reply.getHeader('vary')
    set(reply, 'vary', before === undefined ? 'Origin' : addVary(before, 'Origin'))
  }
  if (origin !== undefined && cors.allows(origin)) {
    set(reply, 'access-control-allow-origin', cors.allowOriginValue(origin))
    const { actual } = cors
    for (let index = 0; index < actual.length; index++) {
      const header = actual[index]!
      set(reply, header[0], header[1])
    }
  }
  return false
}
