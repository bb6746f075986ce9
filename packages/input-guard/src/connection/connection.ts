/**
 * Limits what one HTTP/1.1 connection can make the server do at once. Node parses all pipelined requests of a
 * chunk before a pause takes effect, so a client that never reads could start thousands of handlers with a few
 * kilobytes. @see RFC 9112, section 9.3.2
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

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

/** One socket and its requests. */
export class Connection {
  readonly #socket: Socket
  readonly #limits: ConnectionLimits
  readonly #closing: (reason: ClosingReason) => void
  readonly #waiting: (() => void)[] = []
  #open = 0
  #running = 0
  #unreadBytes = 0
  #closed = false

  constructor(socket: Socket, limits: ConnectionLimits, closing: (reason: ClosingReason) => void) {
    this.#socket = socket
    this.#limits = limits
    this.#closing = closing
    socket.once('close', () => this.#drop())
  }

  /** Counts a request as soon as it is parsed, so that requests without hooks count, too. */
  open(response: GuardedResponse): Exchange {
    const exchange: Exchange = { connection: this, running: false, unreadBytes: 0 }
    response[kExchange] = exchange
    response.once('close', () => this.#end(exchange))
    this.#open++
    const { maxRunning, maxWaiting } = this.#limits
    if (this.#open > maxRunning + maxWaiting) this.#destroy('waiting_requests')
    return exchange
  }

  /** Calls `start` now, later, or, if the connection is closed, never. */
  admit(exchange: Exchange, start: () => void): void {
    if (this.#closed) return
    const run = () => {
      exchange.running = true
      this.#running++
      start()
    }
    if (this.#waiting.length === 0 && this.#mayStart()) run()
    else this.#waiting.push(run)
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
    while (this.#waiting.length > 0 && this.#mayStart()) this.#waiting.shift()!()
  }

  #destroy(reason: ClosingReason): void {
    if (this.#closed) return
    this.#drop()
    this.#closing(reason)
    this.#socket.destroy()
  }

  #drop(): void {
    this.#closed = true
    this.#waiting.length = 0
  }
}
