/** Errors as problem details: what a client may know, and nothing else. */
import { STATUS_CODES } from 'node:http'
import type {
  FastifyError,
  FastifyReply,
  FastifyRequest,
  FastifySchemaValidationError,
} from 'fastify'

/** The body of an error reply. @see RFC 9457, section 3 */
export interface ProblemDetails {
  /** `about:blank`: the status says it all; `code` tells errors of one status apart. */
  readonly type: 'about:blank'
  /** The status phrase. */
  readonly title: string
  readonly status: number
  /** What went wrong, for a person. Left out for a 5xx, whose message belongs in the log. */
  readonly detail?: string
  /** Stable, for a program: `PARAPET_RBAC_DENIED`, `FST_ERR_VALIDATION`. */
  readonly code?: string
  readonly requestId?: string
  /** Each fault of the input: where, as a JSON Pointer into `in`, and what. */
  readonly errors?: readonly {
    readonly in: string
    readonly pointer: string
    readonly detail: string
  }[]
}

/** The media type of {@link ProblemDetails}. @see RFC 9457, section 3 */
export const problemMediaType = 'application/problem+json'

const MAX_ERRORS = 20
/** Characters of a member's name that are told back. */
const MAX_NAME = 64

/**
 * Says of an error what its client may know. A status outside 400 to 599 counts as 500; of a 5xx
 * only its status and a code of ours or of Fastify are told.
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
    // An operating system's or a driver's code says what is behind the server.
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

/** A closed object's fault says which member is too much; its name is the client's own word. */
function describe({ message = 'is invalid', params }: FastifySchemaValidationError): string {
  const surplus = params['additionalProperty']
  return typeof surplus === 'string' ? `${message}: "${surplus.slice(0, MAX_NAME)}"` : message
}

/**
 * An error handler for `app.setErrorHandler`: answers with {@link toProblem}, passes on the
 * `headers` an error carries (`Retry-After`, `WWW-Authenticate`), and logs a 5xx with its cause.
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
  const problem = toProblem({ statusCode: 404, message: 'There is nothing here' }, request.id)
  void reply.code(404).type(problemMediaType).send(problem)
}
