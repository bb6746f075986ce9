/** Errors as problem details that reveal only what a client may know. */
import { STATUS_CODES } from 'node:http'
import type {
  FastifyError,
  FastifyReply,
  FastifyRequest,
  FastifySchemaValidationError,
} from 'fastify'

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
  const source = (typeof error === 'object' && error !== null ? error : {}) as Partial<FastifyError>
  const claimed = source.statusCode ?? (source.validation === undefined ? 500 : 400)
  const status = Number.isInteger(claimed) && claimed >= 400 && claimed <= 599 ? claimed : 500
  const client = status < 500
  const { code } = source
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? (client ? 'Client Error' : 'Server Error'),
    status,
    ...(client && source.message ? { detail: source.message } : undefined),
    // The code of an operating system or a driver reveals what the server is built on.
    ...(typeof code === 'string' && /^(PARAPET|FST)_\w+$/.test(code) ? { code } : undefined),
    ...(requestId === undefined ? undefined : { requestId }),
    ...(client && source.validation !== undefined
      ? {
          errors: source.validation.slice(0, MAX_ERRORS).map((fault) => ({
            in: source.validationContext ?? 'body',
            pointer: fault.instancePath,
            detail: describe(fault),
          })),
        }
      : undefined),
  }
}

/** Names the surplus member of a closed object; the name came from the client. */
function describe({ message = 'is invalid', params }: FastifySchemaValidationError): string {
  const surplus = params['additionalProperty']
  return typeof surplus === 'string' ? `${message}: "${surplus.slice(0, MAX_NAME)}"` : message
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
  const headers = (error as { headers?: Record<string, string> } | null)?.headers
  if (headers !== undefined) reply.headers(headers)
  void reply.code(problem.status).type(problemMediaType).send(problem)
}

/** A handler for `app.setNotFoundHandler`: 404 as {@link ProblemDetails}, without echoing the URL. */
export function problemNotFoundHandler(request: FastifyRequest, reply: FastifyReply): void {
  const problem = toProblem({ statusCode: 404, message: 'Not found' }, request.id)
  void reply.code(404).type(problemMediaType).send(problem)
}
