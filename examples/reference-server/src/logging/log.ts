/** The log. It contains no secrets, no query strings and no values of database rows. */
import type { FastifyBaseLogger } from 'fastify'
import { createPinoHooks, type LeakGuard, type PinoHooks } from '@parapet/secrets'
import { pino, type DestinationStream } from 'pino'
import type { Config } from '../config/environment.ts'

const SECRET =
  /pass(word|wd|code|phrase)|secret|token|authorization|cookie|credential|api[-_]?key|private[-_]?key|^(otp|pin)$/i
const REDACTED = '[redacted]'
const MAX_DEPTH = 6

/** Copies a log record and replaces every member whose name suggests a secret, at any depth. */
function redactSecrets(record: object, depth = 0): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) {
    copy[key] = SECRET.test(key) ? REDACTED : redactValue(value, depth + 1)
  }
  return copy
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth > MAX_DEPTH) return '[too deep]'
  if (Array.isArray(value)) return value.map((item: unknown) => redactValue(item, depth + 1))
  // Requests, replies and errors are class instances; the serializers below select their members.
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ? redactSecrets(value, depth) : value
}

/** The members of Fastify's request that are logged; a URL that the router refused has no route. */
interface LoggedRequest {
  readonly method: string
  readonly url: string
  readonly ip: string
  readonly routeOptions?: { readonly url?: string | undefined } | undefined
}

function describeRequest({ method, url, ip, routeOptions }: LoggedRequest): object {
  return { method, path: url.split(/[?#]/, 1)[0], route: routeOptions?.url, ip }
}

/** Selects members by name: drivers attach the statement, its values and the row to an error. */
function describeError(error: unknown, depth = 0): object | undefined {
  if (!(error instanceof Error)) return error === undefined ? undefined : { type: typeof error }
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown }
  const isClientError = typeof statusCode === 'number' && statusCode < 500
  return {
    type: error.name,
    message: error.message,
    code,
    statusCode,
    stack: isClientError ? undefined : error.stack,
    cause: depth < MAX_DEPTH ? describeError(error.cause, depth + 1) : undefined,
  }
}

/**
 * Creates the log: JSON lines without secrets. The bindings of a child logger are not redacted: bind
 * only ids.
 *
 * @param destination receives the lines. @default the standard output
 */
export function createLog(
  { logLevel }: Pick<Config, 'logLevel'>,
  // Asynchronously, the lines of a moment before a crash come after the line that says why, or never.
  destination: DestinationStream = pino.destination({ dest: 1, sync: true }),
): FastifyBaseLogger {
  const hooks = createPinoHooks()
  const log = pino(
    {
      level: logLevel,
      hooks,
      formatters: { log: redactSecrets },
      serializers: {
        req: describeRequest,
        res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
        err: (error: unknown) => describeError(error),
      },
    },
    destination,
  )
  hooksOf.set(log, hooks)
  return log
}

const hooksOf = new WeakMap<FastifyBaseLogger, PinoHooks>()

/** Redacts the values of loaded secrets in a log of {@link createLog}, which is older than they are. */
export function guardLog(log: FastifyBaseLogger, leaks: LeakGuard): void {
  hooksOf.get(log)?.use(leaks)
}
