/**
 * The block on replies that no hook sees: URLs that the router refuses, bytes that are no HTTP, and
 * what Node answers by itself. Whatever handler the app has for them stays in charge of the rest.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Block } from './block.ts'

interface AnyServer {
  readonly maxRequestsPerSocket?: number
  emit(event: string, ...args: unknown[]): boolean
  listenerCount(event: string): number
  prependListener(event: string, listener: (...args: never[]) => void): unknown
}

/** What is known of a server, and of those that Fastify adds to it for the other addresses of its host. */
interface Watch {
  readonly block: Block
  /** Whether the router will refuse the URL. */
  readonly refuses: (url: string) => boolean
  closing: boolean
  /** Node does not say which reply it is that it gives in place of one too many. */
  latest: ServerResponse | null
}

/** One subscription serves every app of the process; an app that is gone is forgotten with its server. */
const watches = new WeakMap<object, Watch>()
let subscribed = false

/** Adds the listeners, once for a server. @param block of replies for which there is no route. */
export function useRawReplies(app: FastifyInstance, block: Block): void {
  const server = app.server as unknown as AnyServer
  if (watches.has(server)) return
  const watch: Watch = { block, refuses: createUrlJudge(app), closing: false, latest: null }
  watches.set(server, watch)
  if (!subscribed) subscribe('http.server.request.start', startRequest)
  subscribed = true
  app.addHook('preClose', (done) => {
    watch.closing = true
    done()
  })
  watchDropped(server, watch)
  const complete = createHeadCompleter(block)
  server.prependListener('clientError', (_error: Error, socket: Duplex) => complete(socket))
  if ('updateSettings' in server) watchHttp2(server, watch)
  app.addHook('onListen', (done) => {
    for (const other of boundServers(app)) if (!watches.has(other)) watchOther(other, server, watch)
    // Only beside another listener: alone, it would keep Node from serving these requests as others.
    if (server.listenerCount('upgrade') > 0) watchUpgrades(server, watch)
    done()
  })
}

interface Start {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly server: AnyServer
}

/** Runs for each request, before Node looks whether it has an answer of its own. */
function startRequest(message: unknown): void {
  const { request, response, server } = message as Start
  const watch = watches.get(server)
  if (watch === undefined) return
  const { host, expect } = request.headers
  // Without Host, or with an expectation that it does not know, Node answers.
  const byNode = host === undefined || expect !== undefined
  if (byNode || watch.closing || watch.refuses(request.url ?? '/')) setRaw(response, watch.block)
  if (server.maxRequestsPerSocket !== undefined && server.maxRequestsPerSocket > 0) {
    watch.latest = response
  }
}

/** Node answers by itself what comes after the last request that a socket may carry. */
function watchDropped(server: AnyServer, watch: Watch): void {
  server.prependListener('dropRequest', () => {
    if (watch.latest !== null) setRaw(watch.latest, watch.block)
  })
}

/** What opens sockets makes a reply of its own where the router refuses the URL. */
function watchUpgrades(server: AnyServer, { block, refuses }: Watch): void {
  const complete = createHeadCompleter(block)
  server.prependListener('upgrade', ({ url = '/' }: IncomingMessage, socket: Duplex) => {
    if (refuses(url)) complete(socket)
  })
}

/** HTTP/2 has no such channel. */
function watchHttp2(server: AnyServer, watch: Watch): void {
  const { block, refuses } = watch
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    if (watch.closing || refuses(request.url ?? '/')) setRaw(response, block)
  })
  server.prependListener('checkExpectation', (_: IncomingMessage, response: ServerResponse) => {
    setRaw(response, block)
    // Node answers by itself only where nobody listens.
    if (server.listenerCount('checkExpectation') === 1) response.writeHead(417).end()
  })
}

/** Fastify gives its handler for malformed requests to the first server only. */
function watchOther(other: AnyServer, first: AnyServer, watch: Watch): void {
  watches.set(other, watch)
  watchDropped(other, watch)
  if (other.listenerCount('clientError') > 0) return
  other.prependListener('clientError', (error: Error, socket: Duplex) => {
    first.emit('clientError', error, socket)
  })
}

/** `localhost` may have two addresses, and Fastify tells of the server of the second nowhere else. */
function boundServers(app: FastifyInstance): readonly AnyServer[] {
  for (let at: object | null = app; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.getOwnPropertySymbols(at).find(
      ({ description }) => description === 'fastify.serverBindings',
    )
    if (found !== undefined) return (at as Record<symbol, readonly AnyServer[]>)[found]!
  }
  return []
}

/** The router refuses what cannot be decoded, or has too long a part. */
function createUrlJudge({ initialConfig }: FastifyInstance): (url: string) => boolean {
  const { maxParamLength = 100, routerOptions } = initialConfig
  const maxSegment = routerOptions?.maxParamLength ?? maxParamLength
  return (url) => {
    // What names a host as well is read by rules of its own.
    if (!url.startsWith('/')) return true
    if (url.length <= maxSegment && !url.includes('%')) return false
    try {
      return decodeURIComponent(url.split(/[?#]/, 1)[0]!).length > maxSegment
    } catch {
      return true
    }
  }
}

/** What the router's own answer sets as well, replaces these. */
function setRaw(response: ServerResponse, { names, values }: Block): void {
  for (const [index, name] of names.entries()) response.setHeader(name, values[index]!)
}

/**
 * Adds the block to the next reply that somebody writes to a socket by hand: after its status line,
 * and only what it does not have.
 */
function createHeadCompleter({ names, values }: Block): (socket: Duplex) => void {
  const lines = names.map((name, index) => `${name}: ${values[index]}\r\n`)
  return (socket) => {
    let done = false
    const complete = (chunk: unknown): unknown => {
      if (done || !(typeof chunk === 'string' || Buffer.isBuffer(chunk))) return chunk
      const text = typeof chunk === 'string' ? chunk : chunk.toString('latin1')
      const start = text.indexOf('\r\n') + 2
      const blank = text.indexOf('\r\n\r\n')
      if (!text.startsWith('HTTP/1.') || blank === -1) return chunk
      done = true
      const head = text.slice(start - 2, blank + 2).toLowerCase()
      const missing = lines.filter((_line, index) => !head.includes(`\r\n${names[index]}:`))
      const completed = `${text.slice(0, start)}${missing.join('')}${text.slice(start)}`
      return typeof chunk === 'string' ? completed : Buffer.from(completed, 'latin1')
    }
    for (const method of ['write', 'end'] as const) {
      const own = socket[method].bind(socket) as (...args: unknown[]) => unknown
      const completed = (chunk: unknown, ...rest: unknown[]) => own(complete(chunk), ...rest)
      Object.assign(socket, { [method]: completed })
    }
  }
}
