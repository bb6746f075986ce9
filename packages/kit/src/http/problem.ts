/** Errors as problem details that reveal only what a client may know. */
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The body of an error reply. @see RFC 9457, section 3 */
export interface ProblemDetails {
  /** `about:blank`: the status is the type; `code` distinguishes errors of one status. */
  readonly type: 'about:blank'
  /** The status phrase. */
  readonly title: string
  readonly status: number
  /** What went wrong, for a person. Left out for a 5xx: its message belongs in the log. */
  readonly detail?: string
  /** Stable, for programs: `PARAPET_RBAC_DENIED`, `FST_ERR_VALIDATION`. */
  readonly code?: string
  readonly requestId?: string
  /** Each fault of the input: its place, as a JSON Pointer into `in`, and what is wrong. */
  readonly errors?: readonly {
    readonly in: string
    readonly pointer: string
    readonly detail: string
    /** The kind of the fault, for programs, where the validator names one. */
    readonly code?: string
  }[]
}

/** The media type of {@link ProblemDetails}. @see RFC 9457, section 3 */
export const problemMediaType = 'application/problem+json'

const MAX_ERRORS = 20
/** Characters of a member's name that are repeated in the response. */
const MAX_NAME = 64

/**
 * Reduces an error to what a client may know. A status outside 400 to 599 counts as 500; of a 5xx
 * only the status and a code of Parapet or Fastify are kept.
 */
export function toProblem(error: unknown, requestId?: string): ProblemDetails {
  try {
    return problemOf(readError(error), requestId)
  } catch {
    // A getter of the error threw.
    return problemOf({}, requestId)
  }
}

/** The members of an error that are used. Anything can be thrown, so that any type may come. */
interface ReadError {
  readonly code?: unknown
  readonly message?: unknown
  readonly statusCode?: unknown
  /** Errors of other frameworks have the status here; Fastify obeys both. */
  readonly status?: unknown
  readonly validation?: unknown
  readonly validationContext?: unknown
}

function readError(error: unknown): ReadError {
  return typeof error === 'object' && error !== null ? error : {}
}

function statusOf({ statusCode, status, validation }: ReadError): number {
  const claimed = statusCode ?? status ?? (validation === undefined ? 500 : 400)
  const isError = Number.isInteger(claimed) && Number(claimed) >= 400 && Number(claimed) <= 599
  return isError ? Number(claimed) : 500
}

function problemOf(source: ReadError, requestId: string | undefined): ProblemDetails {
  const status = statusOf(source)
  const client = status < 500
  const { code, message, validation, validationContext } = source
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? (client ? 'Client Error' : 'Server Error'),
    status,
    ...(client && typeof message === 'string' && message !== '' ? { detail: message } : undefined),
    // The code of an operating system or a driver reveals what the server is built on.
    ...(typeof code === 'string' && /^(PARAPET|FST)_\w+$/.test(code) ? { code } : undefined),
    ...(requestId === undefined ? undefined : { requestId }),
    ...(client && Array.isArray(validation)
      ? {
          errors: validation.slice(0, MAX_ERRORS).map((fault: unknown) => ({
            in: typeof validationContext === 'string' ? validationContext : 'body',
            // Overrides "in" where faults of several parts of a request come together.
            ...describe(readError(fault)),
          })),
        }
      : undefined),
  }
}

/** A fault as Ajv describes it; other validators have other members. */
interface Fault {
  readonly instancePath?: unknown
  readonly message?: unknown
  readonly params?: unknown
  readonly in?: unknown
}

function describe({ instancePath, message, params, in: part }: Fault): {
  readonly in?: string
  readonly pointer: string
  readonly detail: string
  readonly code?: string
} {
  const text = typeof message === 'string' ? message : 'is invalid'
  const { additionalProperty: surplus, code } = (params ?? {}) as {
    // The name of the surplus member of a closed object came from the client.
    readonly additionalProperty?: unknown
    readonly code?: unknown
  }
  return {
    ...(typeof part === 'string' ? { in: part } : undefined),
    pointer: typeof instancePath === 'string' ? instancePath : '',
    detail: typeof surplus === 'string' ? `${text}: "${surplus.slice(0, MAX_NAME)}"` : text,
    ...(typeof code === 'string' ? { code } : undefined),
  }
}

/**
 * An error handler for `app.setErrorHandler`: responds with {@link toProblem}, sets the `headers` of
 * the error (`Retry-After`, `WWW-Authenticate`), and logs a 5xx with its cause.
 */
export function problemErrorHandler(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const problem = toProblem(error, request.id)
  if (problem.status >= 500) request.log.error({ err: error }, 'request failed')
  else request.log.info({ err: error }, 'request refused')
  setHeaders(reply, error)
  void reply.code(problem.status).type(problemMediaType).send(problem)
}

/** Sets the headers of an error, without those that Node.js would refuse. */
function setHeaders(reply: FastifyReply, error: unknown): void {
  const headers = (error as { headers?: unknown } | null | undefined)?.headers
  if (typeof headers !== 'object' || headers === null) return
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value as string)
      void reply.header(name, value)
    } catch {
      reply.request.log.warn({ header: name }, 'an error has an invalid header; it was left out')
    }
  }
}

/** A handler for `app.setNotFoundHandler`: 404 as {@link ProblemDetails}, without echoing the URL. */
export function problemNotFoundHandler(request: FastifyRequest, reply: FastifyReply): void {
  const problem = toProblem({ statusCode: 404, message: 'Not found' }, request.id)
  void reply.code(404).type(problemMediaType).send(problem)
}
