/**
 * Drives `@fastify/rate-limit`: its handler runs for each decision, and the decision itself is made in its
 * store, because only the store knows all keys and bounds of a request at once.
 */
import { createRequire } from 'node:module'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Verdict } from '../limits/policy.ts'

/** One decision on a request. */
export interface Check {
  readonly decide: () => Verdict | Promise<Verdict>
  verdict: Verdict | undefined
}

/** `@fastify/rate-limit`. */
type Limiter = FastifyPluginAsync<Readonly<Record<string, unknown>>>

/** Decides the check of a request; rejects with the check, if it refuses the request. */
export type Shell = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

type Callback = (error: Error | null, result?: { current: number; ttl: number }) => void

/** Counts above `max` refuse a request. The store has decided, so one is enough. */
const MAX = 0

/** The store of `@fastify/rate-limit`. Its key is the check, which the key generator returns. */
class CheckStore {
  incr(key: unknown, callback: Callback): void {
    const check = key as Check
    const settle = (verdict: Verdict): void => {
      check.verdict = verdict
      callback(null, { current: verdict.allowed ? MAX : MAX + 1, ttl: 0 })
    }
    const verdict = check.decide()
    if (verdict instanceof Promise) verdict.then(settle, callback)
    else settle(verdict)
  }

  /** For a limiter with other settings; there is none. */
  child(): this {
    return this
  }
}

/**
 * Registers `@fastify/rate-limit` in a context of its own, so that it adds no hook and no decorator to the
 * app, and returns its handler.
 *
 * @param checkOf the check of a request.
 */
export async function createShell(
  app: FastifyInstance,
  checkOf: (request: FastifyRequest) => Check,
): Promise<Shell> {
  // Its types declare another `config.rateLimit`, so they must not be loaded.
  const require = createRequire(import.meta.url)
  const limiter = require('@fastify/rate-limit') as Limiter
  let shell: Shell | undefined
  await app.register(async (context) => {
    await context.register(limiter, {
      global: false,
      max: MAX,
      timeWindow: 1,
      store: CheckStore,
      keyGenerator: checkOf,
      errorResponseBuilder: checkOf,
      // The headers of a union are known after the decision.
      addHeaders: withoutHeaders,
      addHeadersOnExceeding: withoutHeaders,
    })
    const { rateLimit } = context as unknown as { rateLimit: () => Shell }
    shell = rateLimit()
  })
  return shell!
}

const withoutHeaders = {
  'x-ratelimit-limit': false,
  'x-ratelimit-remaining': false,
  'x-ratelimit-reset': false,
  'retry-after': false,
}
