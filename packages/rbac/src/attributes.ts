/** Attributes: what conditions may speak of, each with a type that is checked at every reading. */

/** The type of one attribute. A `time` is a `Date`, milliseconds since the epoch, or RFC 3339 text. */
export type AttributeType = 'string' | 'number' | 'boolean' | 'time' | 'string[]'

/** Attribute names and their types. */
export type AttributeSchema = Readonly<Record<string, AttributeType>>

/** The TypeScript type of an {@link AttributeType}. */
export type AttributeValue<A> = A extends 'string'
  ? string
  : A extends 'number'
    ? number
    : A extends 'boolean'
      ? boolean
      : A extends 'time'
        ? Date
        : A extends 'string[]'
          ? readonly string[]
          : never

/** An attribute in the form conditions compare; a time is milliseconds since the epoch. */
type Scalar = string | number | boolean
export type Normal = Scalar | readonly unknown[]

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

const readers: Readonly<Record<AttributeType, (value: unknown) => Normal | undefined>> = {
  string: (value) => (typeof value === 'string' ? value : undefined),
  boolean: (value) => (typeof value === 'boolean' ? value : undefined),
  number: (value) => (typeof value === 'number' && !Number.isNaN(value) ? value : undefined),
  time: (value) => readTime(value),
  'string[]': (value) => (Array.isArray(value) ? value : undefined),
}

/** The reader of a type: the value in its normal form, or `undefined` when it is missing or of another type. */
export function readerOf(type: AttributeType): (value: unknown) => Normal | undefined {
  return readers[type]
}

/** The moments that a `Date` and a `timestamptz` both hold: 4714 BC to AD 275760. */
const FIRST_MOMENT = -210_866_803_200_000
const LAST_MOMENT = 8_640_000_000_000_000

/** Whole milliseconds since the epoch, or `undefined` where the value names no moment. */
function readTime(value: unknown): number | undefined {
  if (value instanceof Date) return readTime(value.getTime())
  const time = typeof value === 'string' && RFC_3339.test(value) ? Date.parse(value) : value
  if (typeof time !== 'number') return undefined
  const holds = (time >= FIRST_MOMENT && time <= LAST_MOMENT) || Math.abs(time) === Infinity
  return holds ? Math.floor(time) : undefined
}

/**
 * Reads one attribute of an object that someone else made. What stands on `Object.prototype` is no
 * attribute, so a polluted prototype grants nothing; accessors of a class are read.
 */
export function readMember(source: unknown, name: string): unknown {
  if (typeof source !== 'object' || source === null) return undefined
  const value = (source as Record<string, unknown>)[name]
  return name in Object.prototype && !Object.hasOwn(source, name) ? undefined : value
}

/** The names of the types, for messages and for the reader of policies. */
export const attributeTypes = Object.keys(readers) as readonly AttributeType[]
