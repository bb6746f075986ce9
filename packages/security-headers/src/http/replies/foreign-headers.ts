/**
 * Keeps headers of thrown errors and of upstream responses from replacing those of the block. They
 * come from other software: an HTTP client copies them into its errors, and a proxy into its replies.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { blockOf, type Parts } from '../request/parts.ts'

type Headers = Readonly<Record<string, unknown>>

/** Where the headers come from. */
type Source = 'error' | 'upstream'

interface Foreign {
  readonly source: Source
  /** Values by lower-case name. A handler that sets another value sets its own. */
  readonly values: ReadonlyMap<string, unknown>
}

const kForeign = Symbol('@parapet/security-headers:foreign')
type ForeignReply = FastifyReply & { [kForeign]?: Foreign }

/** Bounds the memory and the number of events. Later names are dropped without an event. */
const MAX_REPORTED = 1000

/** Watches where the headers of replies come from. */
export interface ForeignHeaders {
  /** Remembers the headers of an error or of a fetched response that is about to be sent. */
  readonly note: (reply: FastifyReply, payload: unknown) => void
  /** Remembers the headers of responses that `reply.from` of @fastify/reply-from will copy. */
  readonly watchProxy: (reply: FastifyReply) => void
  /** Whether a header of the block's names is foreign, so that it must not be set. */
  readonly drops: (reply: FastifyReply, name: string, value: unknown) => boolean
}

/** Creates the watch. Each name is reported once for each route and source. */
export function createForeignHeaders(parts: Parts): ForeignHeaders {
  const reported = new Set<string>()
  return {
    note(reply, payload) {
      if (payload instanceof Error) remember(reply, 'error', headersOfError(payload))
      else if (isFetched(payload)) {
        remember(reply, 'upstream', Object.fromEntries(payload.headers))
      }
    },
    watchProxy: (reply) => {
      const proxy = reply as unknown as ProxyReply
      if (proxy.from !== undefined) wrapFrom(proxy)
    },
    drops(reply: ForeignReply, name, value) {
      const foreign = reply[kForeign]
      if (foreign === undefined || foreign.values.get(name) !== value) return false
      if (!blockOf(reply.request, parts).guarded.has(name)) return false
      const { source } = foreign
      const key = `${source} ${name} ${reply.request.method} ${reply.request.routeOptions.url}`
      if (!reported.has(key) && reported.size < MAX_REPORTED) {
        reported.add(key)
        const details = { header: name, source }
        parts.securityEvents.emit('security_headers.header_dropped', { details }, reply.request)
      }
      return true
    },
  }
}

function remember(reply: ForeignReply, source: Source, headers: Headers | undefined): void {
  if (typeof headers !== 'object' || headers === null) return
  const entries = Object.entries(headers).map(
    ([name, value]) => [name.toLowerCase(), value] as const,
  )
  if (entries.length > 0) reply[kForeign] = { source, values: new Map(entries) }
}

/** Fastify sends `headers` of an error; libraries for HTTP errors may nest them. */
function headersOfError(error: Error): Headers | undefined {
  const { headers, output } = error as { headers?: Headers; output?: { headers?: Headers } }
  return headers ?? output?.headers
}

/** A response that a handler has made itself has no URL. */
function isFetched(payload: unknown): payload is Response {
  if (typeof payload !== 'object' || payload === null) return false
  const { url } = payload as { url?: unknown }
  return (
    typeof url === 'string' &&
    url !== '' &&
    Object.prototype.toString.call(payload) === '[object Response]'
  )
}

/** The part of @fastify/reply-from that is used here, without a dependency on its types. */
interface ProxyReply {
  from?: (source?: string, options?: ProxyOptions) => unknown
}
interface ProxyOptions {
  readonly rewriteHeaders?: (headers: Headers, request: FastifyRequest) => Headers
}

/** The headers that the route's own `rewriteHeaders` changes are the route's own. */
function wrapFrom(reply: ProxyReply): void {
  const from = reply.from!
  reply.from = function fromUpstream(this: FastifyReply, source, options = {}) {
    const { rewriteHeaders } = options
    return from.call(this, source, {
      ...options,
      rewriteHeaders: (headers, request) => {
        remember(this, 'upstream', headers)
        return rewriteHeaders === undefined ? headers : rewriteHeaders(headers, request)
      },
    })
  }
}
