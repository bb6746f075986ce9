/**
 * Removes what a handler had set for its success from a reply that fails: a failure must not be kept
 * by caches, or shown under another policy. The error handler may set these headers again.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Block } from '../../headers/block.ts'
import { isTargeted, NO_STORE } from '../../policy/cache-control.ts'
import { blockOf } from '../request/parts.ts'
import { restoreNonce } from './csp-nonce.ts'
import { createMethodLookup } from './replaced-method.ts'
import type { Services } from './services.ts'

/** A reply fails by an error, or when its handler calls `reply.callNotFound()`. */
export function addFailures(app: FastifyInstance, { parts, foreign, set, apply }: Services): void {
  const callOf = createMethodLookup('callNotFound', callNotFound)
  app.decorateReply('callNotFound', callNotFound as never)
  // Errors of later hooks do not pass `send` before Fastify copies their headers.
  app.addHook('onError', function securityHeadersFailed(_request, reply, error, done) {
    foreign.note(reply, error)
    reset(reply)
    done()
  })

  function reset(reply: FastifyReply): void {
    resetFailed(reply, blockOf(reply.request, parts), restore)
  }

  function restore(reply: FastifyReply): void {
    apply(reply, blockOf(reply.request, parts))
    restoreNonce(reply, parts, set)
  }

  function callNotFound(this: FastifyReply): FastifyReply {
    reset(this)
    return callOf(this).call(this)
  }
}

/** Headers that describe the stored form of the success. */
const OF_SUCCESS = new Set(['etag', 'last-modified', 'expires', 'cache-control', 'age'])

/**
 * Resets a reply that has failed.
 *
 * @param restore sets the header block again.
 */
function resetFailed(
  reply: FastifyReply,
  block: Block,
  restore: (reply: FastifyReply) => void,
): void {
  const { raw } = reply
  if (raw.headersSent || raw.destroyed) return
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (OF_SUCCESS.has(name) || isTargeted(name) || isRefused(name, value)) reply.removeHeader(name)
  }
  restore(reply)
  if (!('cache-control' in block.relaxed)) reply.header('cache-control', NO_STORE)
  // Fastify's last resort sends only what is on `reply.raw`.
  for (const name of [...block.names, 'cache-control']) {
    const value = reply.getHeader(name)
    if (value !== undefined) raw.setHeader(name, value)
  }
}

/** Whether Node refuses the header, so that the error response would fail as well. */
function isRefused(name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    for (const each of [value].flat()) validateHeaderValue(name, each as string)
    return false
  } catch {
    return true
  }
}
