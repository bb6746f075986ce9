/** Adds the limits of connections to a server. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { readFastifyInternal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { AddressCount } from '../connection/address-count.ts'
import {
  Connection,
  exchangeOf,
  type ClosingReason,
  type GuardedResponse,
} from '../connection/connection.ts'
import { PARAPET_INPUT_GUARD_INVALID_OPTION } from '../errors.ts'
import { events } from '../events.ts'
import {
  resolveConnectionOptions,
  type ConnectionGuardOptions,
  type ConnectionSettings,
} from '../options.ts'

const kGuard = Symbol('input-guard:connections')
const kCounted = Symbol('input-guard:answers')
const NAME = '@parapet/input-guard'

type Server = FastifyInstance['server']

/** The guard of all connections of an app. */
interface ServerGuard {
  readonly settings: ConnectionSettings
  /** Guards a server once; an app may listen at several addresses. */
  cover(server: Server): void
}

/**
 * Installs the guard, once for each app, whichever context registers it.
 *
 * @param hasOptions whether the settings were chosen; they must be those of the first registration.
 * @throws PARAPET_INPUT_GUARD_INVALID_OPTION
 */
export function guardConnections(
  app: FastifyInstance,
  settings: ConnectionSettings,
  hasOptions: boolean,
): void {
  const server = app.server as Server & { [kGuard]?: ServerGuard }
  const known = server[kGuard]
  if (known !== undefined && hasOptions && !isDeepStrictEqual(known.settings, settings)) {
    const fault = '  an earlier registration limits the connections of this server in another way'
    throw new PARAPET_INPUT_GUARD_INVALID_OPTION(NAME, fault)
  }
  countAnswers(app)
  if (known !== undefined) return
  const guard = createGuard(app, settings)
  server[kGuard] = guard
  guard.cover(server)
  // `localhost` may have several addresses, each with a server that exists only now.
  app.addHook('onListen', (done) => {
    const servers = readFastifyInternal(app, 'fastify.serverBindings') as Server[] | undefined
    for (const each of servers ?? []) guard.cover(each)
    done()
  })
}

function createGuard(app: FastifyInstance, settings: ConnectionSettings): ServerGuard {
  const bus = useSecurityEvents(app, events)
  const closing = (reason: ClosingReason, ip: string | undefined) => {
    app.log.info({ reason }, 'input-guard closed a connection')
    const from = ip === undefined ? undefined : { ip }
    bus.emit('input_guard.connection_closed', { ...from, details: { reason } })
  }
  const addresses = new AddressCount(settings.maxConnectionsPerAddress)
  const covered = new WeakSet<Server>()
  return {
    settings,
    cover(server) {
      if (covered.has(server)) return
      covered.add(server)
      limitServer(server, settings)
      limitAddresses(server, addresses, closing)
      limitRequests(server, settings, closing)
      ignoreExpectations(server)
    },
  }
}

/** Fastify sets no limit on the time of a request; a limit that the application has set is kept. */
function limitServer(
  server: Server,
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

type Closing = (reason: ClosingReason, ip: string | undefined) => void

function limitAddresses(server: Server, addresses: AddressCount, closing: Closing): void {
  server.prependListener('connection', (socket: Socket) => {
    const { remoteAddress } = socket
    // A UNIX socket has no address.
    if (remoteAddress === undefined) return
    const closed = addresses.add(remoteAddress)
    if (closed !== undefined) {
      socket.once('close', closed)
      return
    }
    closing('open_connections', remoteAddress)
    socket.destroy()
  })
}

/** Starts the requests of a connection in turn, before Fastify and the hooks of any context see them. */
function limitRequests(server: Server, limits: ConnectionSettings, closing: Closing): void {
  const connections = new WeakMap<object, Connection>()
  const connectionOf = (request: IncomingMessage): Connection | undefined => {
    const { stream } = request as { readonly stream?: ServerHttp2Stream }
    const carrier = request.httpVersionMajor === 1 ? request.socket : stream?.session
    if (carrier === undefined) return undefined
    const ip = request.socket.remoteAddress
    const known =
      connections.get(carrier) ?? new Connection(carrier, limits, (reason) => closing(reason, ip))
    connections.set(carrier, known)
    return known
  }
  const handlers = server.rawListeners('request') as ((...args: unknown[]) => void)[]
  server.removeAllListeners('request')
  server.on('request', (request: IncomingMessage, response: GuardedResponse) => {
    // The stream of a session that has ended has none.
    connectionOf(request)?.run(response, refuserOf(response), () => {
      for (const handler of handlers) handler.call(server, request, response)
    })
  })
  const mostStreams = limits.maxRunning + limits.maxWaiting
  server.on('session', (session: ServerHttp2Session) => {
    const { maxConcurrentStreams = Number.POSITIVE_INFINITY } = session.localSettings
    if (maxConcurrentStreams > mostStreams) session.settings({ maxConcurrentStreams: mostStreams })
  })
}

/**
 * Node.js answers an unknown `Expect` with 417 by itself: no hook limits, records or logs such a request. A server
 * may ignore the expectation. @see RFC 9110, section 10.1.1
 */
function ignoreExpectations(server: Server): void {
  if (server.listenerCount('checkExpectation') > 0) return
  server.on('checkExpectation', (...exchange: [IncomingMessage, ServerResponse]) => {
    server.emit('request', ...exchange)
  })
}

/** A stream of HTTP/2 can be refused alone: the client may send it again. @see RFC 9113, section 8.7 */
function refuserOf(response: object): (() => void) | undefined {
  const { stream } = response as { readonly stream?: ServerHttp2Stream }
  return stream && (() => stream.close(constants.NGHTTP2_REFUSED_STREAM))
}

/** Counts the bytes of responses of a context, once. */
function countAnswers(app: FastifyInstance): void {
  const marked = app as FastifyInstance & { readonly [kCounted]?: true }
  if (marked[kCounted] === true) return
  Object.defineProperty(marked, kCounted, { value: true })
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
 * `inputGuard` includes it. One guard covers all requests of an app; a context counts its unread responses from
 * its registration on, so register it first.
 */
export const connectionGuard: FastifyPluginAsync<ConnectionGuardOptions> = fp(
  async (app: FastifyInstance, options: ConnectionGuardOptions): Promise<void> => {
    guardConnections(app, resolveConnectionOptions(options), Object.keys(options).length > 0)
  },
  { name: '@parapet/input-guard/connections', fastify: '5.x' },
)
