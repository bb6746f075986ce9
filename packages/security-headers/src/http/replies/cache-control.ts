/** Completes the `Cache-Control` of a response: handlers do not know whether it is personal. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isNoStore, isPrivate, NO_STORE } from '../../policy/cache-control.ts'
import { hasNonce } from './csp-nonce.ts'
import { blockOf, type Parts } from '../request/parts.ts'

/**
 * Creates the function that turns a handler's `Cache-Control` into the one that is sent.
 *
 * A response for an authenticated request must not be stored by a shared cache. A response with a
 * nonce must not be stored at all: the nonce would be used again.
 */
export function createCacheControl(parts: Parts): (reply: FastifyReply, value: unknown) => unknown {
  return (reply, value) => {
    if (value === NO_STORE || isNoStore(value)) return value
    if (hasNonce(reply)) return NO_STORE
    const { request } = reply
    if (isPrivate(value) || !isAuthenticated(request, parts)) return value
    return blockOf(request, parts).cacheControl === 'handler' ? value : NO_STORE
  }
}

/** If the principal lookup fails, the request is treated as authenticated. */
function isAuthenticated(request: FastifyRequest, { principalOf }: Parts): boolean {
  try {
    return principalOf(request) !== null
  } catch {
    return true
  }
}
