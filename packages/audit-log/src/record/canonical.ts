/**
 * Canonical JSON, and the way of any value into it.
 *
 * @see RFC 8785 (JCS)
 */

/** What canonical JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

const MAX_DEPTH = 32
/** Marks text that JSON cannot hold: UTF-16 with a lone surrogate, in base64. */
const UTF16 = '$utf16:'

/**
 * The one text of a JSON value: members sorted by UTF-16 code units, no blanks, numbers and strings
 * as ECMAScript writes them. Members that are `undefined` are left out.
 *
 * @throws TypeError a number that is not finite, or text with a lone surrogate; {@link toJson}
 *   leaves neither.
 * @see RFC 8785, section 3.2
 */
export function canonicalize(value: Json): string {
  if (typeof value === 'string') return canonicalText(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError('JSON has no such number')
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
 * As {@link canonicalize}, faster, for an object whose own members are in order and whose values
 * {@link toJson} made; `undefined` when it takes the slow way.
 */
export function canonicalizeOrdered(value: object): string | undefined {
  const text = JSON.stringify(value)
  // A key that looks like a number stands first in every object of JavaScript, and may stand
  // elsewhere in canonical JSON; a lone surrogate is written as an escape.
  return ESCAPED_OR_NUMERIC.test(text) ? undefined : text
}

const ESCAPED_OR_NUMERIC = /\\ud|\$utf16:|[{,]"\d/

/** One string of canonical JSON. @throws TypeError it has a lone surrogate. */
function canonicalText(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('JSON has no lone surrogates')
  return JSON.stringify(text)
}

/**
 * Well-formed text, exactly: what has a lone surrogate (or already looks so encoded) becomes
 * `$utf16:` and the base64 of its UTF-16LE code units; {@link decodeText} gives it back.
 */
export function encodeText(text: string): string {
  if (text.isWellFormed() && !text.startsWith(UTF16)) return text
  return UTF16 + Buffer.from(text, 'utf16le').toString('base64')
}

/** The inverse of {@link encodeText}. */
export function decodeText(text: string): string {
  if (!text.startsWith(UTF16)) return text
  return Buffer.from(text.slice(UTF16.length), 'base64').toString('utf16le')
}

/**
 * Brings any value into JSON and never throws: a cycle becomes `[circular]`, what lies deeper than
 * 32 levels `[too deep]`, a function or symbol `[function]` or `[symbol]`, a number JSON lacks its
 * name, a bigint its digits, a date its ISO text, bytes their base64.
 *
 * @param visit may replace each member.
 */
export function toJson(value: unknown, visit?: Visit, path = ''): Json {
  return convert(value, { visit, path, parents: [] })
}

/** What a member becomes; `undefined` leaves it to be converted as it is. */
export type Visit = (name: string, path: string, value: unknown) => Json | undefined

interface Place {
  readonly visit: Visit | undefined
  /** Names from the root, with dots between. */
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

function convertObject(value: object, place: Place): Json {
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
  // In the order of canonical JSON already, so that most copies need no second sorting.
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
  return visit(name, inner, value) ?? convert(value, { visit, path: inner, parents })
}

/** A getter that throws must not lose the record. */
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

/** With names for keys it is an object, so that what is known of names holds for them too. */
function plainMap(map: Map<unknown, unknown>): unknown {
  const members = [...map]
  return members.every(([key]) => typeof key === 'string') ? Object.fromEntries(members) : members
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : 1
}
