/**
 * Filters JSON that a handler sends as text, as a stream or as a `Response`. Fastify serializes objects by the schema
 * of the response, which leaves out members that are not declared, but it sends all others as they are.
 */
import type { FastifyReply } from 'fastify'
import type { Readable } from 'node:stream'
import { PARAPET_INPUT_GUARD_RESPONSE_REFUSED } from '../errors.ts'
import { readJson, startsAsJson, toReadable, type BodyStream } from '../output/read-json.ts'
import { mediaTypeOf } from '../request/media-type.ts'
import { isJsonType } from './response-schema.ts'

/** A response that is text already. */
export type TextPayload = string | Uint8Array

/** What is filtered, and how. */
export interface TextFilter {
  /** The media type with parameters; empty: none. */
  readonly type: string
  readonly maxBytes: number
  /** Serializes a value by the schema. */
  readonly serialize: (value: object) => string
}

export function isTextPayload(payload: unknown): payload is TextPayload {
  return typeof payload === 'string' || payload instanceof Uint8Array
}

export function isStream(payload: unknown): payload is BodyStream {
  const { pipe, getReader } = (payload ?? {}) as Readonly<Record<string, unknown>>
  return typeof pipe === 'function' || typeof getReader === 'function'
}

/** As Fastify recognises it. */
export function isResponse(payload: unknown): payload is Response {
  return Object.prototype.toString.call(payload) === '[object Response]'
}

/**
 * The text that may be sent: the same value, serialized by the schema.
 *
 * A text of another type, or of none, is filtered, too, if it is JSON: clients find out.
 *
 * @throws PARAPET_INPUT_GUARD_RESPONSE_REFUSED the type is JSON, but the text is none, or too long to be parsed.
 */
export function filterText(
  payload: TextPayload,
  { type, maxBytes, serialize }: TextFilter,
): TextPayload {
  const isJson = isJsonType(type)
  if (payload.length === 0 || (!isJson && startsAsJson(payload) !== true)) return payload
  if (byteLength(payload) > maxBytes) throw new PARAPET_INPUT_GUARD_RESPONSE_REFUSED('too long')
  let value: unknown
  try {
    value = JSON.parse(textOf(payload).replace(/^\uFEFF/, ''))
  } catch {
    if (!isJson) return payload
    throw new PARAPET_INPUT_GUARD_RESPONSE_REFUSED('not JSON')
  }
  return typeof value === 'object' && value !== null ? serialize(value) : payload
}

/** Types of streams that clients read as JSON if they are: `Response` has `text/plain` by default. */
const MAYBE_JSON = new Set(['', 'text/plain', 'application/octet-stream'])

/**
 * Whether a response is or may be JSON, and compressed by a plugin that is registered before this one: it cannot be
 * read any more.
 */
export function isUnreadable(reply: FastifyReply, type: string): boolean {
  const encoding = reply.getHeader('content-encoding') ?? 'identity'
  return encoding !== 'identity' && (isJsonType(type) || MAYBE_JSON.has(mediaTypeOf(type)))
}

/**
 * The text of a stream that may be sent. A stream of a type that is not JSON, or that does not begin as JSON, is sent
 * as it is.
 *
 * @throws PARAPET_INPUT_GUARD_RESPONSE_REFUSED (as a rejection) it is too long, or its type is JSON, but it is none.
 */
export async function filterStream(
  reply: FastifyReply,
  payload: BodyStream,
  filter: TextFilter,
): Promise<TextPayload | BodyStream> {
  const isJson = isJsonType(filter.type)
  if (!isJson && !MAYBE_JSON.has(mediaTypeOf(filter.type))) return payload
  const stream = toReadable(payload)
  const found = await untilClosed(reply, stream, readJson(stream, isJson, filter.maxBytes))
  if (found === undefined) throw new PARAPET_INPUT_GUARD_RESPONSE_REFUSED('too long')
  return isTextPayload(found) ? filterText(found, filter) : found
}

/** A client that leaves ends the stream. */
async function untilClosed<T>({ raw }: FastifyReply, stream: Readable, read: Promise<T>) {
  const stop = () => void stream.destroy()
  raw.once('close', stop)
  try {
    return await read
  } finally {
    raw.off('close', stop)
  }
}

/** What a text that was read does not have any more. */
const CODINGS = new Set(['content-encoding', 'content-length'])

/** As {@link filterStream}; status and headers are moved to the reply, as Fastify does. */
export async function filterResponse(
  reply: FastifyReply,
  response: Response,
  filter: TextFilter,
): Promise<unknown> {
  const { body, bodyUsed, status, headers } = response
  // Fastify refuses a body that was read.
  if (body === null || bodyUsed) return response
  const filtered = await filterStream(reply, body as BodyStream, filter)
  if (filtered === body) return response
  // `fetch` decodes a body and keeps its header.
  const isText = isTextPayload(filtered)
  reply.code(status)
  for (const [name, value] of headers) {
    if (!isText || !CODINGS.has(name)) reply.header(name, value)
  }
  return filtered
}

function textOf(payload: TextPayload): string {
  return typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8')
}

function byteLength(payload: TextPayload): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength
}
