/** Responses to bytes that are not valid HTTP. Fastify runs no hook and no route for them. */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { problemMediaType, toProblem, uuidV7 } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'

/** The public response for each error code of Node's HTTP parser. */
const CLIENT_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'The request line and headers are too long'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'The chunk extensions are too long'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request did not arrive in time'],
}

/** How long the socket of a refused client stays open, so that the client can read the response. */
const LINGER_MS = 500

/**
 * Creates a handler that responds with problem details and closes the connection. Pass it to Fastify
 * as `clientErrorHandler`.
 */
export function createClientErrorHandler(log: FastifyBaseLogger) {
  const refused = new WeakSet<Duplex>()
  return (error: NodeJS.ErrnoException, socket: Duplex): void => {
    // Further bytes of a client that already got its response are read and dropped.
    if (refused.has(socket)) return
    if (error.code === 'ECONNRESET' || !socket.writable || !awaitsResponse(socket)) {
      socket.destroy(error)
      return
    }
    const [status, message] = CLIENT_ERRORS[error.code ?? ''] ?? [400, 'This is not valid HTTP']
    const requestId = uuidV7()
    log.info(
      { reqId: requestId, code: error.code, status },
      'refused bytes that are not valid HTTP',
    )
    refused.add(socket)
    socket.end(formatProblem(status, message, requestId))
    // If the socket were destroyed while bytes still arrive, the operating system would reset the
    // connection, and the client could lose the response.
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
  }
}

/** A socket as Node's own error handler sees it. */
type HttpSocket = Duplex & {
  /** The response that is being written or waits to be. */
  readonly _httpMessage?: ServerResponse | null
  /** `incoming` is the latest request whose headers have arrived. */
  readonly parser?: { readonly incoming?: IncomingMessage | null } | null
}

/**
 * Whether the client would read a response as the answer to the request that failed. Otherwise the
 * bytes would end up in the middle of a response, answer an earlier request that is still running, or
 * be a second response to a request that was refused before its body had arrived.
 */
function awaitsResponse({ _httpMessage: current, parser }: HttpSocket): boolean {
  if (current !== null && current !== undefined)
    return !current.headersSent && !current.req.complete
  return parser?.incoming?.complete !== false
}

/** Formats a problem response as the bytes of an HTTP/1.1 response. */
function formatProblem(statusCode: number, message: string, requestId: string): string {
  const body = JSON.stringify(toProblem({ statusCode, message }, requestId))
  return [
    `HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode]}`,
    `Date: ${new Date().toUTCString()}`,
    `Content-Type: ${problemMediaType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}
