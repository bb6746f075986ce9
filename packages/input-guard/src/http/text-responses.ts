/**
 * Filters JSON that a handler sends as text. Fastify serializes objects by the schema of the response, which leaves
 * out members that are not declared, but it sends a text or a buffer as it is.
 */
import type { FastifyReply } from 'fastify'
import { PARAPET_INPUT_GUARD_RESPONSE_REFUSED } from '../errors.ts'
import type { SchemaNode } from '../validation/schema-tools.ts'

/** A response that is text already. */
export type TextPayload = string | Uint8Array

/** Changes a value by the plan of its schema, before it is serialized. */
export type ApplyPlan = (value: unknown) => unknown

const JSON_TYPE = /^(?:application|text)\/(?:[\w.-]+\+)?json(?![\w.+-])/i
/** White space, and the bytes of a byte order mark. */
const SKIPPED = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf, 0xfeff])
const [OPEN_ARRAY, OPEN_OBJECT] = [0x5b, 0x7b]

export function isTextPayload(payload: unknown): payload is TextPayload {
  return typeof payload === 'string' || payload instanceof Uint8Array
}

/**
 * The text that may be sent: the same value, serialized by the schema.
 *
 * A text of another type, or of none, is filtered, too, if it is JSON: clients find out.
 *
 * @throws PARAPET_INPUT_GUARD_RESPONSE_REFUSED the type is JSON, but the text is none, or too long to be parsed.
 */
export function filterText(
  reply: FastifyReply,
  payload: TextPayload,
  schema: SchemaNode,
  maxBytes: number,
  apply: ApplyPlan,
): TextPayload {
  const type = String(reply.getHeader('content-type') ?? '')
  const isJson = JSON_TYPE.test(type)
  if (payload.length === 0 || (!isJson && !mayBeObject(payload))) return payload
  if (byteLength(payload) > maxBytes) throw new PARAPET_INPUT_GUARD_RESPONSE_REFUSED('too long')
  let value: unknown
  try {
    value = JSON.parse(textOf(payload).replace(/^\uFEFF/, ''))
  } catch {
    if (!isJson) return payload
    throw new PARAPET_INPUT_GUARD_RESPONSE_REFUSED('not JSON')
  }
  if (typeof value !== 'object' || value === null) return payload
  const serialize = reply.compileSerializationSchema(schema, String(reply.statusCode))
  return serialize(apply(value) as Record<string, unknown>)
}

function mayBeObject(payload: TextPayload): boolean {
  const unitAt = (at: number) =>
    typeof payload === 'string' ? payload.charCodeAt(at) : payload[at]
  let at = 0
  while (SKIPPED.has(unitAt(at) ?? 0)) at++
  return unitAt(at) === OPEN_OBJECT || unitAt(at) === OPEN_ARRAY
}

function textOf(payload: TextPayload): string {
  return typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8')
}

function byteLength(payload: TextPayload): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength
}
