/**
 * Converts typed values to text and back. The name of a codec is authenticated with the value, so that
 * a value is never read as another type than it was written as.
 */

/** How a value is written. */
export type ValueType =
  | 'text'
  | 'number'
  | 'integer'
  | 'boolean'
  | 'date'
  | 'bigint'
  | 'bytes'
  | 'json'

/** Writes and reads the values of one type. Text is stored as it is, so that any Tink reader can read it. */
export interface ValueCodec {
  readonly name: ValueType
  /** Describes a valid value, for error messages. */
  readonly expected: string
  /** The most bytes that a value takes, if the type has a limit. */
  readonly maxBytes?: number
  /** @returns the text, or `undefined` if the value has another type. */
  readonly write: (value: unknown) => string | undefined
  /** May throw any error, also for a text that `write` does not write; the caller replaces it. */
  readonly read: (text: string) => unknown
  /** The text that equal values share, for blind indexes. @default what `write` returns */
  readonly indexText?: (value: unknown) => string | undefined
}

const text: ValueCodec = {
  name: 'text',
  expected: 'a well-formed string',
  write: (value) => (typeof value === 'string' && value.isWellFormed() ? value : undefined),
  read: (text) => text,
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

function readNumber(text: string): number {
  const value = NUMBER.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(value)) throw new Error('no number')
  return value
}

const number: ValueCodec = {
  name: 'number',
  expected: 'a finite number',
  maxBytes: 25,
  // JSON.stringify(-0) is '0'.
  write: (value) =>
    Number.isFinite(value) ? (Object.is(value, -0) ? '-0' : JSON.stringify(value)) : undefined,
  read: readNumber,
  indexText: (value) => (Number.isFinite(value) ? JSON.stringify(value) : undefined),
}

const integer: ValueCodec = {
  name: 'integer',
  expected: 'a safe integer',
  maxBytes: 17,
  write: (value) => (Number.isSafeInteger(value) ? String(value) : undefined),
  read(text) {
    const value = readNumber(text)
    if (!Number.isSafeInteger(value)) throw new Error('no integer')
    return value
  },
}

const boolean: ValueCodec = {
  name: 'boolean',
  expected: 'true or false',
  maxBytes: 5,
  write: (value) => (typeof value === 'boolean' ? String(value) : undefined),
  read(text) {
    if (text !== 'true' && text !== 'false') throw new Error('no boolean')
    return text === 'true'
  },
}

const date: ValueCodec = {
  name: 'date',
  expected: 'a valid date',
  maxBytes: 27,
  write: (value) =>
    value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : undefined,
  read(text) {
    const value = new Date(text)
    if (value.toISOString() !== text) throw new Error('no date')
    return value
  },
}

const bigint: ValueCodec = {
  name: 'bigint',
  expected: 'a bigint',
  write: (value) => (typeof value === 'bigint' ? String(value) : undefined),
  read(text) {
    if (!/^-?\d+$/.test(text)) throw new Error('no bigint')
    return BigInt(text)
  },
}

const bytes: ValueCodec = {
  name: 'bytes',
  expected: 'a Uint8Array',
  write: (value) =>
    value instanceof Uint8Array
      ? Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')
      : undefined,
  read: (text) =>
    text.startsWith('{') ? readOldBytes(text) : new Uint8Array(Buffer.from(text, 'base64')),
}

/** Bytes that an earlier version wrote as JSON: `{"0":1,"1":2}`, or what a Buffer's toJSON returns. */
function readOldBytes(text: string): Uint8Array {
  const value = JSON.parse(text) as Record<string, unknown>
  const list = value['type'] === 'Buffer' ? value['data'] : Object.values(value)
  return Uint8Array.from(list as number[])
}

const json: ValueCodec = {
  name: 'json',
  expected: 'a JSON value without dates, bytes, bigints and functions',
  write(value) {
    if (!isJson(value)) return undefined
    const text = JSON.stringify(value) as string | undefined
    return text?.isWellFormed() === true ? text : undefined
  },
  read: (text) => JSON.parse(text) as unknown,
  indexText: (value) => json.write(value) && json.write(sortMembers(value)),
}

/** Whether JSON keeps a value as it is. A circular object ends in a RangeError, which callers replace. */
function isJson(value: unknown): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || 'toJSON' in value || isOpaque(value)) return false
  return Object.values(value).every((each) => each === undefined || isJson(each))
}

/** Objects whose contents are not in their members, or not as JSON. */
function isOpaque(value: object): boolean {
  return value instanceof Map || value instanceof Set || ArrayBuffer.isView(value)
}

/** Two objects are equal whatever the order of their members. */
function sortMembers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortMembers)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, each]) => [name, sortMembers(each)]))
}

/** The codecs, by name. */
export const codecs: Readonly<Record<ValueType, ValueCodec>> = {
  text,
  number,
  integer,
  boolean,
  date,
  bigint,
  bytes,
  json,
}
