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
  // What a page embeds, as an image in a comment, is the will of its author as well.
  const isForced =
    headers['sec-fetch-site'] === 'cross-site' || headers['sec-fetch-mode'] === 'no-cors'
  return isForced ? 'cross-site' : undefined
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
