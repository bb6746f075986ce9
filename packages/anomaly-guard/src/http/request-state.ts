/** What the hooks of one request tell each other. */
import type { FastifyRequest } from 'fastify'
import type { Signal } from '../rules/signal.ts'
import type { Client } from './client.ts'

/** Requests that the guard refused: they never feed a rule. */
const refused = new WeakSet<FastifyRequest>()

export function markRefused(request: FastifyRequest): void {
  refused.add(request)
}

export function isRefused(request: FastifyRequest): boolean {
  return refused.has(request)
}

/** Whose will a request was, as far as it limits what may be done about it. */
export function originOf({ headers }: FastifyRequest, { isAllowed }: Client): Signal['origin'] {
  if (isAllowed) return 'allowed'
  return headers['sec-fetch-site'] === 'cross-site' ? 'cross-site' : undefined
}
