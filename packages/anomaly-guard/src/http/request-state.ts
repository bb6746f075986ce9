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
export function originOf(request: FastifyRequest, { isAllowed }: Client): Signal['origin'] {
  if (isAllowed) return 'allowed'
  return isForced(request) ? 'cross-site' : undefined
}

/** What a form of another site can send; for all else a browser asks the server first. @see Fetch, section 4.8 */
const FORM_TYPE = /^\s*(?:application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)\b/i

/** Whether a page could make its visitor send the request: a client that says so of others forges it. */
function isForced({ method, headers }: FastifyRequest): boolean {
  const isCrossSite = headers['sec-fetch-site'] === 'cross-site'
  // What a page embeds, as an image in a comment, is the will of its author as well.
  if (method === 'GET' || method === 'HEAD') {
    return isCrossSite || headers['sec-fetch-mode'] === 'no-cors'
  }
  return isCrossSite && method === 'POST' && FORM_TYPE.test(headers['content-type'] ?? 'text/plain')
}

const MAX_IN_FLIGHT = 20_000

/** Requests that are not finished, by id: an event names the request that caused it. */
export class InFlight {
  readonly #requests = new Map<string, { request: FastifyRequest; count: number }>()

  add(request: FastifyRequest): void {
    const same = this.#requests.get(request.id)
    if (same !== undefined) {
      same.count++
      return
    }
    // A connection that broke may never have finished.
    if (this.#requests.size >= MAX_IN_FLIGHT) {
      this.#requests.delete(this.#requests.keys().next().value!)
    }
    this.#requests.set(request.id, { request, count: 1 })
  }

  /** @returns `undefined` where clients have chosen one id for several requests. */
  find(id: string | undefined): FastifyRequest | undefined {
    const entry = id === undefined ? undefined : this.#requests.get(id)
    return entry?.count === 1 ? entry.request : undefined
  }

  remove({ id }: FastifyRequest): void {
    const entry = this.#requests.get(id)
    if (entry !== undefined && --entry.count === 0) this.#requests.delete(id)
  }
}
