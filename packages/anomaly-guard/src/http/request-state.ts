/** What the hooks of one request tell each other. */
import type { FastifyRequest } from 'fastify'

/** Requests that the guard refused: they never feed a rule. */
const refused = new WeakSet<FastifyRequest>()

export function markRefused(request: FastifyRequest): void {
  refused.add(request)
}

export function isRefused(request: FastifyRequest): boolean {
  return refused.has(request)
}
