/**
 * The block on replies that no hook sees: URLs that the router refuses, bytes that are no HTTP, and
 * what Node answers by itself. Whatever handler the app has for them stays in charge of the rest.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Block } from './block.ts'

type Http1Server = {
  listenerCount(event: string): number
  prependListener(event: string, listener: (...args: never[]) => void): unknown
}

/** Adds the listeners. @param block of replies for which there is no route. */
export function useRawReplies(app: FastifyInstance, block: Block): void {
  const server = app.server as unknown as Http1Server
  const { maxParamLength = 100, routerOptions } = app.initialConfig
  const maxSegment = routerOptions?.maxParamLength ?? maxParamLength
  const lines = block.names.map((name, index) => `${name}: ${block.values[index]}\r\n`)
  let closing = false
  app.addHook('preClose', (done) => {
    closing = true
    done()
  })

  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    if (closing || isRefused(request.url ?? '/', maxSegment)) setRaw(response, block)
  })
  server.prependListener('checkExpectation', (_: IncomingMessage, response: ServerResponse) => {
    setRaw(response, block)
    // Node answers by itself only where nobody listens.
    if (server.listenerCount('checkExpectation') === 1) response.writeHead(417).end()
  })
  server.prependListener('clientError', (_error: Error, socket: Duplex) => {
    addToHead(socket, block.names, lines)
  })
}

/** Whether the router will refuse the URL: it cannot be decoded, or a part of it is too long. */
function isRefused(url: string, maxSegment: number): boolean {
  if (url.length <= maxSegment && !url.includes('%')) return false
  const path = url.split(/[?#;]/, 1)[0]!
  try {
    return decodeURIComponent(path).length > maxSegment
  } catch {
    return true
  }
}

/** What the router's own answer sets as well, replaces these. */
function setRaw(response: ServerResponse, { names, values }: Block): void {
  for (const [index, name] of names.entries()) response.setHeader(name, values[index]!)
}

/**
 * Adds the block to the reply that the app's handler is about to write to the socket by hand: after
 * its status line, and only what it does not have.
 */
function addToHead(socket: Duplex, names: readonly string[], lines: readonly string[]): void {
  let started = false
  const complete = (chunk: unknown): unknown => {
    if (started || !(typeof chunk === 'string' || Buffer.isBuffer(chunk))) return chunk
    started = true
    const text = typeof chunk === 'string' ? chunk : chunk.toString('latin1')
    const start = text.indexOf('\r\n') + 2
    const blank = text.indexOf('\r\n\r\n')
    if (!text.startsWith('HTTP/1.') || blank === -1) return chunk
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
