/** The reply of a path that has no route, for `hideAs: 404`. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

const kHidden = Symbol('@parapet/rbac:hidden')
const kHeaders = Symbol('@parapet/rbac:headers')
const kTolerated = Symbol('@parapet/rbac:tolerated')

type Headers = ReturnType<FastifyReply['getHeaders']>
type Holder = { [kHidden]?: boolean; [kTolerated]?: boolean; [kHeaders]?: Headers | null }

/** Adds to requests what this file keeps on them. */
export function decorateHiding(app: FastifyInstance): void {
  app.decorateRequest(kHidden, false)
  app.decorateRequest(kTolerated, false)
  app.decorateRequest(kHeaders, null)
}

/** Remembers the headers that the reply has before the hooks of the route itself run. */
export function keepHeaders(request: FastifyRequest, reply: FastifyReply): void {
  ;(request as Holder)[kHeaders] ??= reply.getHeaders()
}

/**
 * Sends exactly the reply of a path that has no route: without the headers that the hooks of the
 * route have set since {@link keepHeaders}.
 */
export function hide(request: FastifyRequest, reply: FastifyReply): void {
  const holder = request as Holder
  holder[kHidden] = true
  const kept = holder[kHeaders]
  if (kept) restoreHeaders(reply, kept)
  reply.callNotFound()
}

/** Whether the request has got that reply. */
export function isHidden(request: FastifyRequest): boolean {
  return (request as Holder)[kHidden] === true
}

/** Notes that a denial of the request has been reported in the mode `report`. */
export function markTolerated(request: FastifyRequest): void {
  ;(request as Holder)[kTolerated] = true
}

/** Whether a denial of the request has been reported already. */
export function isTolerated(request: FastifyRequest): boolean {
  return (request as Holder)[kTolerated] === true
}

function restoreHeaders(reply: FastifyReply, kept: Headers): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    const before = kept[name]
    if (before === value) continue
    reply.removeHeader(name)
    if (before !== undefined) reply.header(name, before)
  }
}
