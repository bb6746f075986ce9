/**
 * Decides which caches may store a response: handlers do not know whether it is personal. One decision
 * for the replies of handlers, for failed replies and for hijacked ones.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isNoStore, isTargeted, isUnshared, NO_STORE } from '../../policy/cache-control.ts'
import { blockOf, type Parts } from '../request/parts.ts'
import { hasNonce } from './csp-nonce.ts'
import type { HeaderAccess } from './header-access.ts'

/** Which caches may store a response: none, the browser's only, or those that the handler says. */
type Storage = 'none' | 'browser' | 'any'

/** Whether the reply has a header that single caches follow in place of `Cache-Control`. */
export const kTargeted = Symbol('@parapet/security-headers:targeted')
const kToken = Symbol('@parapet/security-headers:csrf-token')
type MarkedReply = FastifyReply & { [kTargeted]?: boolean; [kToken]?: true }

/** The decision, as the parts of this plugin use it. */
export interface CacheGuard {
  /** The `Cache-Control` that is sent where a handler sets `value`. */
  readonly complete: (reply: FastifyReply, value: unknown, headers: HeaderAccess) => unknown
  /** Corrects the headers of a response that may have become personal since they were set. */
  readonly correct: (reply: FastifyReply, headers: HeaderAccess) => void
}

/** Remembers that the response contains a CSRF token. */
export function markToken(reply: FastifyReply): void {
  ;(reply as MarkedReply)[kToken] = true
}

/** Remembers that {@link CacheGuard.correct} has to look for targeted headers. */
export function markTargeted(reply: FastifyReply): void {
  ;(reply as MarkedReply)[kTargeted] = true
}

/** Creates the decision. */
export function createCacheGuard(parts: Parts): CacheGuard {
  /** A nonce must not be used again; a token belongs to one browser, whatever the handler says. */
  const storageOf = (reply: MarkedReply, headers: HeaderAccess): Storage => {
    if (hasNonce(reply)) return 'none'
    if (reply[kToken] === true) return 'browser'
    if (blockOf(reply.request, parts).cacheControl === 'handler') return 'any'
    // These two make an anonymous visitor somebody, or end that. @see RFC 9111, section 7.3
    const changesVisitor =
      headers.get(reply, 'set-cookie') !== undefined ||
      headers.get(reply, 'clear-site-data') !== undefined
    return changesVisitor || isPersonal(reply.request, parts) ? 'browser' : 'any'
  }
  return {
    complete(reply, value, headers) {
      if (value === NO_STORE) return value
      return isAllowed(value, storageOf(reply, headers)) ? value : NO_STORE
    },
    correct(reply: MarkedReply, headers) {
      const value = headers.get(reply, 'cache-control')
      if (value === NO_STORE && reply[kTargeted] !== true) return
      const storage = storageOf(reply, headers)
      if (storage === 'any') return
      if (!isAllowed(value, storage)) headers.set(reply, 'cache-control', NO_STORE)
      if (reply[kTargeted] !== true) return
      for (const name of headers.names(reply)) {
        const isUnsafe = isTargeted(name) && !isAllowed(headers.get(reply, name), storage)
        if (isUnsafe) headers.remove(reply, name)
      }
    },
  }
}

function isAllowed(value: unknown, storage: Storage): boolean {
  if (storage === 'any') return true
  return storage === 'browser' ? isUnshared(value) : isNoStore(value)
}

/** If the principal lookup fails, the request is treated as authenticated. */
function isPersonal(request: FastifyRequest, { principalOf, hasLogin }: Parts): boolean {
  try {
    return principalOf(request) !== null || hasLogin(request)
  } catch {
    return true
  }
}
