/**
 * Canonical JSON, and the conversion of any value to JSON.
 *
 * @see RFC 8785 (JCS)
 */

import { PARAPET_AUDIT_LOG_INVALID_RECORD } from '../errors.ts'

/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

const MAX_DEPTH = 32
/** The prefix of text with a lone surrogate, which JSON cannot represent; base64 of UTF-16 follows. */
const UTF16 = '$utf16:'

/**
 * The canonical text of a JSON value: members sorted by UTF-16 code units, no whitespace, numbers and
 * strings as ECMAScript writes them. Members that are `undefined` are left out.
 *
 * @throws TypeError a number is not finite, or a text has a lone surrogate; the result of
 *   {@link toJson} has neither.
 * @see RFC 8785, section 3.2
 */
export function canonicalize(value: Json): string {
  if (typeof value === 'string') return canonicalText(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError('JSON numbers must be finite')
    return String(Object.is(value, -0) ? 0 : value)
  }
  if (value === null || typeof value !== 'object') return String(value)
  if (Array.isArray(value)) return `[${(value as Json[]).map(canonicalize).join(',')}]`
  const members = value as JsonObject
  let text = ''
  for (const key of Object.keys(members).toSorted(byCodeUnit)) {
    const member = members[key]
    if (member === undefined) continue
    text += `${text === '' ? '' : ','}${canonicalText(key)}:${canonicalize(member)}`
  }
  return `{${text}}`
}

/**
 * A faster {@link canonicalize} for an object with sorted members and values from {@link toJson}.
 * Returns `undefined` if the slow function is needed.
 */
export function canonicalizeOrdered(value: object): string | undefined {
  const text = JSON.stringify(value)
  // JavaScript sorts numeric keys first, canonical JSON does not; JSON.stringify escapes lone surrogates.
  return ESCAPED_OR_NUMERIC.test(text) ? undefined : text
}

const ESCAPED_OR_NUMERIC = /\\ud|\$utf16:|[{,]"\d/

/** @throws TypeError the text has a lone surrogate. */
function canonicalText(text: string): string {
  if (!text.isWellFormed())
    throw new TypeError('text in canonical JSON must not have lone surrogates')
  return JSON.stringify(text)
}

/**
 * Makes text well-formed without loss: text with a lone surrogate, or with the prefix `$utf16:`,
 * becomes `$utf16:` and the base64 of its UTF-16LE code units. {@link decodeText} reverses it.
 */
export function encodeText(text: string): string {
  if (text.isWellFormed() && !text.startsWith(UTF16)) return text
  return UTF16 + Buffer.from(text, 'utf16le').toString('base64')
}

/** Reverses {@link encodeText}. */
export function decodeText(text: string): string {
  if (!text.startsWith(UTF16)) return text
  return Buffer.from(text.slice(UTF16.length), 'base64').toString('utf16le')
}

/**
 * Converts any value to JSON and never throws. Cycles become `[circular]`, values deeper than 32
 * levels `[too deep]`, functions and symbols `[function]` and `[symbol]`, numbers that are not finite
 * their name, bigints their digits, dates their ISO text, and bytes their base64.
 *
 * @param visit may replace each member.
 */
export function toJson(value: unknown, visit?: Visit, path = ''): Json {
  return convert(value, { visit, path, parents: [] })
}

/** Returns the replacement of a member; `undefined` converts the member as usual. */
export type Visit = (name: string, path: string, value: unknown) => Json | undefined

interface Place {
  readonly visit: Visit | undefined
  /** The names from the root, separated by dots. */
  readonly path: string
  readonly parents: object[]
}

function convert(value: unknown, place: Place): Json {
  switch (typeof value) {
    case 'string':
      return encodeText(value)
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'boolean':
      return value
    case 'bigint':
      return value.toString()
    case 'object':
      return value === null ? null : convertObject(value, place)
    case 'undefined':
      return null
    case 'function':
    case 'symbol':
    default:
      return `[${typeof value}]`
  }
}

/** If a Proxy or a getter throws, the record must still be written. */
function convertObject(value: object, place: Place): Json {
  const { parents } = place
  const depth = parents.length
  try {
    return convertReadable(value, place)
  } catch (error) {
    if (error instanceof PARAPET_AUDIT_LOG_INVALID_RECORD) throw error
    parents.length = depth
    return '[unreadable]'
  }
}

function convertReadable(value: object, place: Place): Json {
  const { parents } = place
  if (parents.includes(value)) return '[circular]'
  if (parents.length >= MAX_DEPTH) return '[too deep]'
  const plain = plainOf(value)
  if (typeof plain !== 'object' || plain === null) return convert(plain, place)
  parents.push(value)
  const copy = Array.isArray(plain)
    ? (plain as unknown[]).map((item, index) => convertMember(String(index), item, place))
    : convertMembers(plain, place)
  parents.pop()
  return copy
}

function convertMembers(value: object, place: Place): JsonObject {
  const copy: Record<string, Json> = {}
  // In canonical order, so that canonicalizing need not sort again in most cases.
  for (const key of Object.keys(value).toSorted(byCodeUnit)) {
    const member = read(value, key)
    if (member === undefined) continue
    const converted = convertMember(key, member, place)
    if (key === '__proto__') {
      Object.defineProperty(copy, key, { value: converted, enumerable: true, writable: true })
    } else copy[encodeText(key)] = converted
  }
  return copy
}

function convertMember(name: string, value: unknown, { visit, path, parents }: Place): Json {
  if (visit === undefined) return convert(value, { visit, path, parents })
  const inner = `${path}.${name}`
  return visited(visit, name, inner, value) ?? convert(value, { visit, path: inner, parents })
}

/** A Proxy can throw when its prototype is asked for. */
function visited(visit: Visit, name: string, path: string, value: unknown): Json | undefined {
  try {
    return visit(name, path, value)
  } catch (error) {
    if (error instanceof PARAPET_AUDIT_LOG_INVALID_RECORD) throw error
    return '[unreadable]'
  }
}

/** If a getter throws, the record must still be written. */
function read(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return '[unreadable]'
  }
}

function plainOf(value: object): unknown {
  try {
    if (value instanceof Date)
      return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
    if (value instanceof Error) return { name: value.name, message: value.message }
    if (value instanceof Map) return plainMap(value as Map<unknown, unknown>)
    if (value instanceof Set) return [...(value as Set<unknown>)]
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      const plain = (value as { toJSON(): unknown }).toJSON()
      return plain === value ? '[circular]' : plain
    }
    return value
  } catch {
    return '[unreadable]'
  }
}

/** A map with string keys becomes an object, so that rules for member names apply to it. */
function plainMap(map: Map<unknown, unknown>): unknown {
  const members = [...map]
  return members.every(([key]) => typeof key === 'string') ? Object.fromEntries(members) : members
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : 1
}
