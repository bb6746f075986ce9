/**
 * Every error of this service, and the two answers that Fastify gives before any hook has run: to
 * a URL it cannot read, and to bytes that are no HTTP.
 */
import { STATUS_CODES, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import createError from '@fastify/error'
import { problemErrorHandler, problemMediaType, toProblem, uuidV7 } from '@parapet/kit'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'

/** The environment holds a value this service cannot start with; the message lists every fault. */
export const PARAPET_REFERENCE_INVALID_ENVIRONMENT = createError<[string, string]>(
  'PARAPET_REFERENCE_INVALID_ENVIRONMENT',
  '%s cannot start with this environment:\n%s',
)

/** Another process has the data folder open; the embedded database serves one at a time. */
export const PARAPET_REFERENCE_DATA_IN_USE = createError<[number, string]>(
  'PARAPET_REFERENCE_DATA_IN_USE',
  'Process %d has this data folder open. If that is some other program, delete %s',
)

/** The keys beside the embedded database cannot be read; others would read nothing of what they sealed. */
export const PARAPET_REFERENCE_KEYS_UNREADABLE = createError<[string]>(
  'PARAPET_REFERENCE_KEYS_UNREADABLE',
  'The keys of this server cannot be read: bring %s back from a backup',
)

/** There is no such row. */
export const PARAPET_REFERENCE_NOT_FOUND = createError(
  'PARAPET_REFERENCE_NOT_FOUND',
  'There is nothing with this id',
  404,
)

/** The path has other methods; `Allow` names them. */
export const PARAPET_REFERENCE_METHOD_NOT_ALLOWED = createError(
  'PARAPET_REFERENCE_METHOD_NOT_ALLOWED',
  'This path has other methods; the header Allow names them',
  405,
)

/** The cursor did not come from this service. */
export const PARAPET_REFERENCE_INVALID_CURSOR = createError(
  'PARAPET_REFERENCE_INVALID_CURSOR',
  'The cursor is not one that a list has returned',
  400,
)

/** Another user has this e-mail address, in whatever case it is written. */
export const PARAPET_REFERENCE_EMAIL_TAKEN = createError(
  'PARAPET_REFERENCE_EMAIL_TAKEN',
  'Another user has this e-mail address',
  409,
)

/** The current password is another, or the user has none. */
export const PARAPET_REFERENCE_WRONG_PASSWORD = createError(
  'PARAPET_REFERENCE_WRONG_PASSWORD',
  'The current password is not this one',
  403,
)

/** A user who wrote content stays until that content is gone. */
export const PARAPET_REFERENCE_USER_HAS_CONTENT = createError(
  'PARAPET_REFERENCE_USER_HAS_CONTENT',
  'This user is the author of content; delete or reassign it first',
  409,
)

/** The author named by content is no user. */
export const PARAPET_REFERENCE_AUTHOR_UNKNOWN = createError(
  'PARAPET_REFERENCE_AUTHOR_UNKNOWN',
  'The author is not a known user',
  409,
)

/** `If-Match` names another version than the stored one. @see RFC 9110, section 13.1.1 */
export const PARAPET_REFERENCE_VERSION_MISMATCH = createError(
  'PARAPET_REFERENCE_VERSION_MISMATCH',
  'It has changed since it was read; read it again',
  412,
)

/** A problem reply as bytes for a raw socket. */
function rawProblem(statusCode: number, message: string, requestId: string): string {
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

/** What a client may know of bytes that Node's parser refused, by the parser's code. */
const CLIENT_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'The request line and headers are too long'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'The chunk extensions are too long'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request did not arrive in time'],
}

/** How long a refused peer may go on sending before the socket is torn down. */
const LINGER_MS = 500

/**
 * Makes the handler that answers bytes that are no HTTP with problem details and gives the socket
 * up. Pass it to Fastify as `clientErrorHandler`; no hook has run.
 */
export function createClientErrorHandler(log: FastifyBaseLogger) {
  const refused = new WeakSet<Duplex>()
  return (error: NodeJS.ErrnoException, socket: Duplex): void => {
    // Told already; what else arrives is read and dropped until the socket is torn down.
    if (refused.has(socket)) return
    // Node keeps the reply under way here, and its own handler asks the same: bytes written into
    // the middle of a reply would be read as part of it.
    const { _httpMessage: underWay } = socket as Duplex & { _httpMessage?: ServerResponse | null }
    if (error.code === 'ECONNRESET' || !socket.writable || underWay?.headersSent === true) {
      socket.destroy(error)
      return
    }
    const [status, message] = CLIENT_ERRORS[error.code ?? ''] ?? [400, 'This is not valid HTTP']
    const requestId = uuidV7()
    log.info({ reqId: requestId, code: error.code, status }, 'client error')
    refused.add(socket)
    socket.end(rawProblem(status, message, requestId))
    // Destroyed while bytes still arrive, it would be reset, and a reset can overtake the reply.
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
  }
}

/** What a client may know of a URL that the router refused, by Fastify's code. */
const FRAMEWORK_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  FST_ERR_BAD_URL: [400, 'The URL is not validly encoded'],
  FST_ERR_MAX_PARAM_LENGTH: [414, 'A part of the URL is too long'],
}

/**
 * Answers a URL that the router refused with problem details that do not repeat it. Pass it to
 * Fastify as `frameworkErrors`; no hook has run.
 */
export function answerFrameworkError(
  { code }: { readonly code: string },
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const [statusCode, message] = FRAMEWORK_ERRORS[code] ?? [500, 'The request could not be routed']
  reply.headers(request.server.securityHeaders.headers)
  problemErrorHandler(Object.assign(new Error(message), { statusCode, code }), request, reply)
}
