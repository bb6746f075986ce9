/** `reply.cspNonce`: created at the first access, which also adds it to the policy. */
import { takeRandom } from '@parapet/kit'
import type { FastifyReply } from 'fastify'
import { PARAPET_SECURITY_HEADERS_NO_NONCE } from '../../errors.ts'
import { NO_STORE } from '../../policy/cache-control.ts'
import { blockOf, type Parts } from '../request/parts.ts'

type Nonce = FastifyReply['cspNonce']
type ReplyWithNonce = FastifyReply & { [kNonce]?: Nonce }

const kNonce = Symbol('@parapet/security-headers:nonce')
/** 128 bits. @see W3C CSP Level 3, section 7.1 */
const NONCE_BYTES = 16

/** Whether a handler has read the nonce of this reply. */
export function hasNonce(reply: FastifyReply): boolean {
  return (reply as ReplyWithNonce)[kNonce] !== undefined
}

/**
 * Removes the policy from a 304. The page that the browser has stored has the nonce of the policy
 * beside it, and a header of a 304 would replace that policy. @see RFC 9111, section 3.2
 */
export function removeNonceHeaders(reply: FastifyReply, parts: Parts): void {
  for (const { name } of blockOf(reply.request, parts).nonceHeaders) reply.removeHeader(name)
}

/** Adds the nonce of the reply again to a header block that was set again. */
export function restoreNonce(
  reply: FastifyReply,
  parts: Parts,
  set: (reply: FastifyReply, name: string, value: string) => void,
): void {
  const nonce = (reply as ReplyWithNonce)[kNonce]?.script
  if (nonce === undefined) return
  for (const { name, parts: around } of blockOf(reply.request, parts).nonceHeaders) {
    set(reply, name, around.join(nonce))
  }
}

/** Creates the getter of `reply.cspNonce`. @param set sets a header without checks. */
export function createNonceGetter(
  parts: Parts,
  set: (reply: FastifyReply, name: string, value: string) => void,
): (this: FastifyReply) => Nonce {
  return function cspNonce(this: ReplyWithNonce): Nonce {
    if (this[kNonce] !== undefined) return this[kNonce]
    const { nonceHeaders } = blockOf(this.request, parts)
    if (nonceHeaders.length === 0) {
      throw new PARAPET_SECURITY_HEADERS_NO_NONCE(
        'the policy of this route has no source "\'nonce\'"; use the preset "web" or add the source',
      )
    }
    if (this.sent || this.raw.headersSent) {
      throw new PARAPET_SECURITY_HEADERS_NO_NONCE(
        'the headers are already sent; read reply.cspNonce before the response starts',
      )
    }
    const nonce = takeRandom(NONCE_BYTES).toString('base64')
    this[kNonce] = Object.freeze({ script: nonce, style: nonce })
    if (this.raw.statusCode === 304) removeNonceHeaders(this, parts)
    else for (const { name, parts: around } of nonceHeaders) set(this, name, around.join(nonce))
    // Also after the handler, for instance in `onSend` for a static page: the nonce is used once.
    set(this, 'cache-control', NO_STORE)
    this.removeHeader('etag')
    this.removeHeader('last-modified')
    return this[kNonce]
  }
}
