/**
 * Limits what one HTTP/1.1 connection can make the server do at once. Node parses all pipelined
 * requests of a chunk before a pause takes effect, so a client that never reads could start thousands
 * of handlers with a few kilobytes. Imports nothing of this service: any Fastify app can use it.
 *
 * @see RFC 9112, section 9.3.2
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

/** The limits of one connection. */
export interface ConnectionGuardOptions {
  /** Requests that run at the same time; later ones wait for their turn. @default 4 */
  readonly maxRunning?: number
  /** Requests that wait; one more closes the connection. @default 64 */
  readonly maxWaiting?: number
  /**
   * Bytes of responses that the client has not read. Above this limit no further request starts, and a
   * further response closes the connection. A single response may be larger. @default 8 MiB
   */
  readonly maxUnreadBytes?: number
}

const kExchange = Symbol('connection-guard')

/** One request, until its response has been handed to the operating system. */
interface Exchange {
  readonly connection: Connection
  running: boolean
  unreadBytes: number
}

type GuardedResponse = ServerResponse & { [kExchange]?: Exchange }
type Refused = (reason: 'waiting requests' | 'unread bytes') => void

class Connection {
  readonly #socket: Socket
  readonly #limits: Required<ConnectionGuardOptions>
  readonly #refused: Refused
  readonly #waiting: (() => void)[] = []
  #open = 0
  #running = 0
  #unreadBytes = 0
  #closed = false

  constructor(socket: Socket, limits: Required<ConnectionGuardOptions>, refused: Refused) {
    this.#socket = socket
    this.#limits = limits
    this.#refused = refused
    socket.once('close', () => this.#drop())
  }

  /** Counts a request as soon as it is parsed, so that requests without hooks count, too. */
  open(response: GuardedResponse): Exchange {
    const exchange: Exchange = { connection: this, running: false, unreadBytes: 0 }
    response[kExchange] = exchange
    response.once('close', () => this.#end(exchange))
    this.#open++
    const { maxRunning, maxWaiting } = this.#limits
    if (this.#open > maxRunning + maxWaiting) this.#destroy('waiting requests')
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
      this.#destroy('unread bytes')
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

  #destroy(reason: Parameters<Refused>[0]): void {
    if (this.#closed) return
    this.#drop()
    this.#refused(reason)
    this.#socket.destroy()
  }

  #drop(): void {
    this.#closed = true
    this.#waiting.length = 0
  }
}

/** HTTP/2 limits its streams by itself. */
function isPipelined(request: IncomingMessage): boolean {
  return request.httpVersionMajor === 1
}

async function connectionGuardPlugin(
  app: FastifyInstance,
  { maxRunning = 4, maxWaiting = 64, maxUnreadBytes = 8_388_608 }: ConnectionGuardOptions,
): Promise<void> {
  const limits = { maxRunning, maxWaiting, maxUnreadBytes }
  const connections = new WeakMap<Socket, Connection>()
  const refused: Refused = (reason) =>
    app.log.info({ reason }, 'closed a connection with too many pipelined requests')
  const open = ({ socket }: IncomingMessage, response: GuardedResponse): Exchange => {
    let connection = connections.get(socket)
    if (connection === undefined) {
      connection = new Connection(socket, limits, refused)
      connections.set(socket, connection)
    }
    return connection.open(response)
  }

  // Before Fastify's own listener, which runs no hook for a URL that it cannot decode.
  app.server.prependListener('request', (request: IncomingMessage, response: GuardedResponse) => {
    if (isPipelined(request)) open(request, response)
  })
  app.addHook('onRequest', (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    if (!isPipelined(request.raw)) return done()
    const response: GuardedResponse = reply.raw
    // Requests that are injected or arrive at a second address of `listen` have no exchange yet.
    const exchange = response[kExchange] ?? open(request.raw, response)
    // A timeout may have answered the request while it waited.
    exchange.connection.admit(exchange, () => reply.sent || done())
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    const { [kExchange]: exchange }: GuardedResponse = reply.raw
    // A stream has no known size, but it stops while its client does not read.
    if (exchange === undefined || (typeof payload !== 'string' && !Buffer.isBuffer(payload))) {
      return done(null, payload)
    }
    // On a closed connection the response is dropped.
    if (exchange.connection.answer(exchange, Buffer.byteLength(payload))) done(null, payload)
  })
}

/**
 * Limits pipelined requests and unread responses of each connection. Register it before every plugin
 * that adds an `onRequest` hook.
 */
export const connectionGuard = fp(connectionGuardPlugin, {
  name: 'connection-guard',
  fastify: '5.x',
})
