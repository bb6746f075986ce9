/**
 * Limits what one connection can make the server do at once, by pipelined requests or streams of HTTP/2. Node parses all pipelined requests of a
 * chunk before a pause takes effect, so a client that never reads could start thousands of handlers with a few
 * kilobytes. @see RFC 9112, section 9.3.2
 */
import { AsyncResource } from 'node:async_hooks'
import type { ServerResponse } from 'node:http'

/** The limits of one connection. */
export interface ConnectionLimits {
  /** Requests that run at the same time; later ones wait for their turn. */
  readonly maxRunning: number
  /** Requests that wait; one more closes the connection. */
  readonly maxWaiting: number
  /**
   * Bytes of responses that the client has not read. Above this limit no further request starts, and a
   * further response closes the connection. A single response may be larger.
   */
  readonly maxUnreadBytes: number
}

/** Why a connection was closed. */
export type ClosingReason = 'waiting_requests' | 'unread_bytes' | 'open_connections'

const kExchange = Symbol('input-guard:exchange')

/** One request, until its response has been handed to the operating system. */
export interface Exchange {
  readonly connection: Connection
  running: boolean
  unreadBytes: number
}

/** A response that knows its exchange. */
export type GuardedResponse = ServerResponse & { [kExchange]?: Exchange }

/** The exchange of a response; `undefined`: its request was not counted. */
export function exchangeOf(response: GuardedResponse): Exchange | undefined {
  return response[kExchange]
}

/** What carries requests: a socket, or a session of HTTP/2. */
export interface Carrier {
  once(event: 'close', listener: () => void): unknown
  destroy(): unknown
}

/** One carrier and its requests. */
export class Connection {
  readonly #carrier: Carrier
  readonly #limits: ConnectionLimits
  readonly #closing: (reason: ClosingReason) => void
  readonly #waiting: { readonly exchange: Exchange; readonly run: () => void }[] = []
  #open = 0
  #running = 0
  #unreadBytes = 0
  #closed = false

  constructor(
    carrier: Carrier,
    limits: ConnectionLimits,
    closing: (reason: ClosingReason) => void,
  ) {
    this.#carrier = carrier
    this.#limits = limits
    this.#closing = closing
    carrier.once('close', () => this.#drop())
  }

  /**
   * Counts a request, and calls `start` now, later, or, if the connection is closed, never.
   *
   * @param refuse answers one request too many; without it the connection is closed.
   */
  run(response: GuardedResponse, refuse: (() => void) | undefined, start: () => void): void {
    if (this.#closed) return
    const exchange: Exchange = { connection: this, running: false, unreadBytes: 0 }
    const { maxRunning, maxWaiting } = this.#limits
    if (this.#open >= maxRunning + maxWaiting) {
      if (refuse === undefined) this.#destroy('waiting_requests')
      else refuse()
      return
    }
    response[kExchange] = exchange
    response.once('close', () => this.#end(exchange))
    this.#open++
    const run = () => {
      exchange.running = true
      this.#running++
      start()
    }
    if (this.#waiting.length === 0 && this.#mayStart()) run()
    // The end of another request starts it, whose asynchronous context it must not get.
    else this.#waiting.push({ exchange, run: AsyncResource.bind(run) })
  }

  /** Counts the bytes of a response that is about to be written. @returns whether it may be. */
  answer(exchange: Exchange, bytes: number): boolean {
    if (this.#closed) return false
    if (this.#unreadBytes > 0 && this.#unreadBytes + bytes > this.#limits.maxUnreadBytes) {
      this.#destroy('unread_bytes')
      return false
    }
    exchange.unreadBytes += bytes
    this.#unreadBytes += bytes
    return true
  }

  #mayStart(): boolean {
    const { maxRunning, maxUnreadBytes } = this.#limits
    if (this.#running === 0) return true
    return this.#running < maxRunning && this.#unreadBytes < maxUnreadBytes
  }

  #end(exchange: Exchange): void {
    this.#open--
    this.#unreadBytes -= exchange.unreadBytes
    if (exchange.running) this.#running--
    else this.#forget(exchange)
    while (this.#waiting.length > 0 && this.#mayStart()) this.#waiting.shift()!.run()
  }

  /** A stream may end while it waits. */
  #forget(exchange: Exchange): void {
    const at = this.#waiting.findIndex((each) => each.exchange === exchange)
    if (at !== -1) this.#waiting.splice(at, 1)
  }

  #destroy(reason: ClosingReason): void {
    if (this.#closed) return
    this.#drop()
    this.#closing(reason)
    this.#carrier.destroy()
  }

  #drop(): void {
    this.#closed = true
    this.#waiting.length = 0
  }
}
