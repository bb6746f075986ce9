/** The trace that a request belongs to. @see W3C Trace Context, section 3.2 */
import type { FastifyBaseLogger, FastifyServerOptions } from 'fastify'

/** Version 00; a later one may append members. All zeros are no id. */
const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:$|-)/

/** Reads the header `traceparent`; `undefined`: there is none, or it is invalid and must be ignored. */
export function readTraceparent(header: string | undefined) {
  const [, traceId, parentId] = TRACEPARENT.exec(header ?? '') ?? []
  if (traceId === undefined || parentId === undefined) return undefined
  // Version 00 has exactly these members.
  if (header!.startsWith('00') && header!.length !== 55) return undefined
  return { traceId, parentId }
}

/** Adds the trace to every log line of a request. Pass it to Fastify as `childLoggerFactory`. */
export const logTrace: NonNullable<FastifyServerOptions['childLoggerFactory']> = function (
  log: FastifyBaseLogger,
  bindings,
  options,
  rawRequest,
) {
  const { traceparent } = rawRequest.headers
  const trace = readTraceparent(Array.isArray(traceparent) ? undefined : traceparent)
  return log.child({ ...bindings, ...trace }, options)
}
