/** Adds the limits of connections to a server. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { AddressCount } from '../connection/address-count.ts'
import {
  Connection,
  exchangeOf,
  type ClosingReason,
  type Exchange,
  type GuardedResponse,
} from '../connection/connection.ts'
import { events } from '../events.ts'
import {
  resolveConnectionOptions,
  type ConnectionGuardOptions,
  type ConnectionSettings,
} from '../options.ts'

const kInstalled = Symbol('input-guard:connections')

/** HTTP/2 limits its streams by itself. */
function isPipelined(request: IncomingMessage): boolean {
  return request.httpVersionMajor === 1
}

/** Installs the guard, once for each server. */
export function guardConnections(app: FastifyInstance, settings: ConnectionSettings): void {
  const server = app.server as FastifyInstance['server'] & { [kInstalled]?: true }
  if (server[kInstalled] === true) return
  server[kInstalled] = true
  const bus = useSecurityEvents(app, events)
  const closing = (reason: ClosingReason, socket: Socket) => {
    app.log.info({ reason }, 'input-guard closed a connection')
    const ip = socket.remoteAddress
    bus.emit('input_guard.connection_closed', {
      ...(ip === undefined ? undefined : { ip }),
      details: { reason },
    })
  }
  limitServer(app, settings)
  limitAddresses(app, settings.maxConnectionsPerAddress, closing)
  limitRequests(app, settings, closing)
}

/** Fastify sets no limit on the time of a request; a limit that the application has set is kept. */
function limitServer(
  { server }: FastifyInstance,
  { headTimeoutMs, requestTimeoutMs, maxRequestsPerConnection }: ConnectionSettings,
): void {
  const limits = server as {
    headersTimeout?: number
    requestTimeout?: number
    maxRequestsPerSocket?: number | null
  }
  if (limits.requestTimeout === 0) limits.requestTimeout = requestTimeoutMs
  if (limits.headersTimeout === NODE_HEAD_TIMEOUT_MS) limits.headersTimeout = headTimeoutMs
  if ((limits.maxRequestsPerSocket ?? 0) === 0) {
    limits.maxRequestsPerSocket = maxRequestsPerConnection
  }
}

/** The default of Node.js. */
const NODE_HEAD_TIMEOUT_MS = 60_000

function limitAddresses(
  app: FastifyInstance,
  most: number,
  closing: (reason: ClosingReason, socket: Socket) => void,
): void {
  const addresses = new AddressCount(most)
  app.server.prependListener('connection', (socket: Socket) => {
    const { remoteAddress } = socket
    // A UNIX socket has no address.
    if (remoteAddress === undefined) return
    const closed = addresses.add(remoteAddress)
    if (closed !== undefined) {
      socket.once('close', closed)
      return
    }
    closing('open_connections', socket)
    socket.destroy()
  })
}

function limitRequests(
  app: FastifyInstance,
  limits: ConnectionSettings,
  closing: (reason: ClosingReason, socket: Socket) => void,
): void {
  const connections = new WeakMap<Socket, Connection>()
  const open = ({ socket }: IncomingMessage, response: GuardedResponse): Exchange => {
    let connection = connections.get(socket)
    if (connection === undefined) {
      connection = new Connection(socket, limits, (reason) => closing(reason, socket))
      connections.set(socket, connection)
    }
    return connection.open(response)
  }

  // Before Fastify's own listener, which runs no hook for a URL that it cannot decode.
  app.server.prependListener('request', (request: IncomingMessage, response: GuardedResponse) => {
    if (isPipelined(request)) open(request, response)
  })
  app.addHook('onRequest', (request, reply, done) => {
    if (!isPipelined(request.raw)) return done()
    // Requests that are injected or arrive at a second address of `listen` have no exchange yet.
    const exchange = exchangeOf(reply.raw) ?? open(request.raw, reply.raw)
    // A timeout may have answered the request while it waited.
    exchange.connection.admit(exchange, () => reply.sent || done())
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    const exchange = exchangeOf(reply.raw)
    // A stream has no known size, but it stops while its client does not read.
    if (exchange === undefined || (typeof payload !== 'string' && !Buffer.isBuffer(payload))) {
      return done(null, payload)
    }
    // On a closed connection the response is dropped.
    if (exchange.connection.answer(exchange, Buffer.byteLength(payload))) done(null, payload)
  })
}

/**
 * Limits the pipelined requests, unread responses and open connections of each client, and slow requests.
 * `inputGuard` includes it. Register it by itself, before every plugin that adds an `onRequest` hook, so that no
 * hook of theirs runs for a request that has to wait.
 */
export const connectionGuard: FastifyPluginAsync<ConnectionGuardOptions> = fp(
  async (app: FastifyInstance, options: ConnectionGuardOptions): Promise<void> => {
    guardConnections(app, resolveConnectionOptions(options))
  },
  { name: '@parapet/input-guard/connections', fastify: '5.x' },
)
