/**
 * Adds the header block to responses that run no hook: to URLs that the router refuses, to malformed
 * requests, and to requests that Node answers itself. The app's handlers for them still run.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { readFastifyInternal } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Block } from '../../headers/block.ts'
import { createHeadCompleter } from '../../headers/raw-head.ts'
import { watchEvents, type AnyServer } from './server-events.ts'

/** The state of a server. Fastify creates further servers for other addresses; they share it. */
interface Watch {
  readonly block: Block
  /** Whether the router refuses a URL. */
  readonly refuses: (url: string) => boolean
  closing: boolean
  /** The latest response. The event `dropRequest` does not say which response it belongs to. */
  latest: ServerResponse | null
}

/** All apps of the process share one subscription. An entry is removed together with its server. */
const watches = new WeakMap<object, Watch>()
let subscribed = false

/** Adds the listeners, once per server. @param block the block of requests without a route. */
export function addRawReplies(app: FastifyInstance, block: Block): void {
  const server = app.server as unknown as AnyServer
  if (watches.has(server)) return
  const watch: Watch = { block, refuses: createUrlCheck(app), closing: false, latest: null }
  watches.set(server, watch)
  if (!subscribed) subscribe('http.server.request.start', startRequest)
  subscribed = true
  app.addHook('preClose', (done) => {
    watch.closing = true
    done()
  })
  watchServer(server, watch)
  app.addHook('onListen', (done) => {
    for (const other of boundServers(app)) if (!watches.has(other)) watchOther(other, server, watch)
    done()
  })
}

interface Start {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly server: AnyServer
}

/** Runs for each request, before Node decides whether it answers the request itself. */
function startRequest(message: unknown): void {
  const { request, response, server } = message as Start
  const watch = watches.get(server)
  if (watch === undefined) return
  const { host, expect } = request.headers
  // Node itself refuses a request without Host and one with an unknown expectation.
  const byNode = host === undefined || expect !== undefined
  if (byNode || watch.closing || watch.refuses(request.url ?? '/')) setRaw(response, watch.block)
  if (server.maxRequestsPerSocket !== undefined && server.maxRequestsPerSocket > 0) {
    watch.latest = response
  }
}

/** Sets or completes the headers of every response that runs no hook. */
function watchServer(server: AnyServer, watch: Watch): void {
  const { block, refuses } = watch
  const complete = createHeadCompleter(block)
  const completeBare = createHeadCompleter(block, true)
  watchEvents(server, {
    clientError: (_error: Error, socket: Duplex) => complete(socket),
    // Node itself refuses requests beyond `maxRequestsPerSocket`.
    dropRequest: () => {
      if (watch.latest !== null) setRaw(watch.latest, block)
    },
    // A WebSocket plugin writes responses of its own: to URLs that the router refuses, and to
    // malformed handshakes.
    upgrade: ({ url = '/' }: IncomingMessage, socket: Duplex) => {
      if (refuses(url)) complete(socket)
      else completeBare(socket)
    },
    ...('updateSettings' in server ? http2Events(server, watch) : {}),
  })
}

/** The diagnostics channel has no messages for HTTP/2. */
function http2Events(server: AnyServer, watch: Watch) {
  const { block, refuses } = watch
  const headers = Object.fromEntries(block.names.map((name, index) => [name, block.values[index]!]))
  return {
    request: (request: IncomingMessage, response: ServerResponse) => {
      if (watch.closing || refuses(request.url ?? '/')) setRaw(response, block)
    },
    checkExpectation: (_: IncomingMessage, response: ServerResponse) => setRaw(response, block),
    // Without a listener for `checkExpectation`, Node itself refuses the request. With one, it would
    // leave the response to that listener, so this plugin must not add one.
    stream: (stream: ServerHttp2Stream, { expect }: IncomingHttpHeaders) => {
      if (expect === undefined || expect === '100-continue') return
      if (server.listenerCount('checkExpectation') > 0) return
      const respond = stream.respond.bind(stream)
      stream.respond = (own, options) => respond({ ...headers, ...own }, options)
    },
  }
}

/** Fastify adds its `clientError` handler to the first server only. */
function watchOther(other: AnyServer, first: AnyServer, watch: Watch): void {
  watches.set(other, watch)
  watchServer(other, watch)
  const emit = other.emit.bind(other)
  other.emit = (event, ...args) =>
    event === 'clientError' && other.listenerCount(event) === 0
      ? first.emit(event, ...args)
      : emit(event, ...args)
}

/** `localhost` may have two addresses. Fastify has no public property for the second server. */
function boundServers(app: FastifyInstance): readonly AnyServer[] {
  return (readFastifyInternal(app, 'fastify.serverBindings') ?? []) as readonly AnyServer[]
}

/** The router refuses URLs that cannot be decoded or that have too long a parameter. */
function createUrlCheck({ initialConfig }: FastifyInstance): (url: string) => boolean {
  const { maxParamLength = 100, routerOptions } = initialConfig
  const maxSegment = routerOptions?.maxParamLength ?? maxParamLength
  return (url) => {
    // The router parses absolute URLs by other rules, so they all get the block in advance.
    if (!url.startsWith('/')) return true
    if (url.length <= maxSegment && !url.includes('%')) return false
    try {
      return decodeURIComponent(url.split(/[?#]/, 1)[0]!).length > maxSegment
    } catch {
      return true
    }
  }
}

/** The response of a hook or handler replaces these headers. */
export function setRaw(response: ServerResponse, { names, values }: Block): void {
  for (const [index, name] of names.entries()) response.setHeader(name, values[index]!)
}
