/** Attribute types, and how attributes are read. The type is checked at every read. */

import { decimalText, readBigint, readDate, readDecimal, readUuid } from './exact-values.ts'

/**
 * The type of an attribute. A `time` is a `Date`, milliseconds since the epoch or RFC 3339 text. The
 * types `uuid`, `bigint`, `decimal`, `enum` and `date` are for columns of these PostgreSQL types: a
 * value that the column cannot have matches no row, and values are read as drivers return them.
 */
export type AttributeType =
  | 'string'
  | 'number'
  | 'boolean'
  | 'time'
  | 'string[]'
  | 'uuid'
  | 'bigint'
  | 'decimal'
  | 'enum'
  | 'date'

/** Attribute names and their types. A nested attribute is named by its path, as `address.country`. */
export type AttributeSchema = Readonly<Record<string, AttributeType>>

interface AttributeValues {
  readonly string: string
  readonly number: number
  readonly boolean: boolean
  readonly time: Date
  readonly 'string[]': readonly string[]
  readonly uuid: string
  readonly bigint: bigint
  readonly decimal: number
  readonly enum: string
  readonly date: Date
}

/** The TypeScript type of an {@link AttributeType}. */
export type AttributeValue<A> = A extends AttributeType ? AttributeValues[A] : never

/** A value in the form that conditions compare. A time is milliseconds since the epoch. */
type Scalar = string | number | bigint | boolean
export type Normal = Scalar | readonly unknown[]

const RFC_3339 =
  /^\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

const readers: Readonly<Record<AttributeType, (value: unknown) => Normal | undefined>> = {
  string: (value) => (typeof value === 'string' ? value : undefined),
  boolean: (value) => (typeof value === 'boolean' ? value : undefined),
  number: (value) => (typeof value === 'number' && !Number.isNaN(value) ? value : undefined),
  time: (value) => readTime(value),
  'string[]': (value) => (Array.isArray(value) ? value : undefined),
  uuid: readUuid,
  bigint: readBigint,
  decimal: readDecimal,
  enum: (value) => (typeof value === 'string' ? value : undefined),
  date: readDate,
}

/** The types that an attribute of type `string` or `number` can be compared with. */
const EXACT: readonly AttributeType[] = ['uuid', 'bigint', 'decimal', 'enum', 'date']

/** Whether values of other types are converted to the type before they are compared. */
export function isExact(type: AttributeType): boolean {
  return EXACT.includes(type)
}

/** Prints a value in its normal form. */
export function printValue(type: AttributeType, value: Normal): string {
  if (type === 'time' && Number.isFinite(value)) return new Date(value as number).toISOString()
  if (type === 'decimal' && typeof value === 'bigint') return decimalText(value)
  return typeof value === 'bigint' ? String(value) : JSON.stringify(value)
}

/** Returns the reader of a type. It yields the normal form, or `undefined` for any other type. */
export function readerOf(type: AttributeType): (value: unknown) => Normal | undefined {
  return readers[type]
}

/** The range that a `Date` and a PostgreSQL `timestamptz` share: 4714 BC to AD 275760. */
const EARLIEST_TIME = -210_866_803_200_000
const LATEST_TIME = 8_640_000_000_000_000

/** Returns whole milliseconds since the epoch, or `undefined` if the value is not a valid time. */
function readTime(value: unknown): number | undefined {
  if (value instanceof Date) return readTime(value.getTime())
  const time = typeof value === 'string' ? parseTime(value) : value
  if (typeof time !== 'number') return undefined
  return isTimeInRange(time) ? Math.floor(time) : undefined
}

/** Whether a number of milliseconds since the epoch is a time that can be stored, or infinite. */
export function isTimeInRange(time: number): boolean {
  return (time >= EARLIEST_TIME && time <= LATEST_TIME) || Math.abs(time) === Infinity
}

/** `Date.parse` reads 30 February as 2 March. */
function parseTime(text: string): number | undefined {
  if (!RFC_3339.test(text)) return undefined
  const day = Date.parse(`${text.slice(0, 10)}T00:00:00Z`)
  const isReal = new Date(day).getUTCDate() === Number(text.slice(8, 10))
  return isReal ? Date.parse(text) : undefined
}

/**
 * Reads one attribute of an untrusted object. Members of `Object.prototype` are ignored, so that a
 * polluted prototype grants nothing. Accessors of a class are read.
 */
export function readMember(source: unknown, name: string): unknown {
  if (typeof source !== 'object' || source === null) return undefined
  const value = (source as Record<string, unknown>)[name]
  return name in Object.prototype && !Object.hasOwn(source, name) ? undefined : value
}

/** Reads a nested attribute, as {@link readMember} does at each level. */
export function readPath(source: unknown, names: readonly string[]): unknown {
  return names.reduce(readMember, source)
}

/** The names of all attribute types. */
export const attributeTypes = Object.keys(readers) as readonly AttributeType[]
