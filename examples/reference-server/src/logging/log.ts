/** What the log may hold: never a secret, never a query string, never what a driver quotes of a row. */
import type { FastifyBaseLogger } from 'fastify'
import { pino, type DestinationStream } from 'pino'
import type { Config } from './config.ts'

const SECRET =
  /pass(word|wd|code|phrase)|secret|token|authorization|cookie|credential|api[-_]?key|private[-_]?key|^(otp|pin)$/i
const REDACTED = '[redacted]'
const MAX_DEPTH = 6

/** A copy of a log record in which every member named like a secret is replaced, at any depth. */
export function redactSecrets(record: object, depth = 0): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) {
    copy[key] = SECRET.test(key) ? REDACTED : redactValue(value, depth + 1)
  }
  return copy
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth > MAX_DEPTH) return '[deep]'
  if (Array.isArray(value)) return value.map((item: unknown) => redactValue(item, depth + 1))
  // A request, a reply and an error are instances; the serializers below choose what is told of them.
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ? redactSecrets(value, depth) : value
}

/** The members of Fastify's request that the log uses; a refused URL has no route. */
interface LoggedRequest {
  readonly method: string
  readonly url: string
  readonly ip: string
  readonly routeOptions?: { readonly url?: string | undefined } | undefined
}

function describeRequest({ method, url, ip, routeOptions }: LoggedRequest): object {
  return { method, path: url.split(/[?#]/, 1)[0], route: routeOptions?.url, ip }
}

/** Only named members: drivers hang the statement, its values and the offending row on an error. */
function describeError(error: unknown, depth = 0): object | undefined {
  if (!(error instanceof Error)) return error === undefined ? undefined : { type: typeof error }
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown }
  const refused = typeof statusCode === 'number' && statusCode < 500
  return {
    type: error.name,
    message: error.message,
    code,
    statusCode,
    stack: refused ? undefined : error.stack,
    cause: depth < MAX_DEPTH ? describeError(error.cause, depth + 1) : undefined,
  }
}

/**
 * Makes the log: JSON lines that hold no secret. What a child logger is bound to is not looked at:
 * bind ids.
 *
 * @param destination where they go. @default the standard output
 */
export function createLog(
  { logLevel }: Pick<Config, 'logLevel'>,
  destination: DestinationStream = pino.destination(1),
): FastifyBaseLogger {
  return pino(
    {
      level: logLevel,
      formatters: { log: redactSecrets },
      serializers: {
        req: describeRequest,
        res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
        err: (error: unknown) => describeError(error),
      },
    },
    destination,
  )
}
