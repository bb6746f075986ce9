/** `reply.send`: checks the headers of a response before it is sent. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { isTargeted } from '../../policy/cache-control.ts'
import { blockOf } from '../request/parts.ts'
import { markTargeted } from './cache-control.ts'
import { removeNonceHeaders } from './csp-nonce.ts'
import { createPageCheck } from './pages.ts'
import { createMethodLookup } from './replaced-method.ts'
import { kApplied, type AppliedReply, type Services } from './services.ts'

/** Replaces `send`, which Fastify calls for every response, before the first byte and after the handler. */
export function decorateSend(
  app: FastifyInstance,
  { parts, kinds, foreign, cache, headers, set, apply }: Services,
): void {
  const log = process.env['NODE_ENV'] === 'production' ? null : app.log
  const checkPage = createPageCheck(parts, log, set)
  const sendOf = createMethodLookup('send', send)
  app.decorateReply('send', send as never)

  function send(this: AppliedReply, payload: unknown): FastifyReply {
    if (this[kApplied] !== true) apply(this, blockOf(this.request, parts))
    for (const name of this.raw.getHeaderNames()) {
      if (kinds.get(name) === 'revealing') this.raw.removeHeader(name)
      else if (isTargeted(name)) markTargeted(this)
    }
    foreign.note(this, payload)
    checkPage(this, payload)
    if (this.raw.statusCode === 304) removeNonceHeaders(this, parts)
    cache.correct(this, headers)
    return sendOf(this).call(this, payload)
  }
}
