/** Converts typed values to text and back: a date, a number or an object is decrypted as what it was. */
import type { TSchema } from '@sinclair/typebox'
import { Kind } from '@sinclair/typebox'

/** Writes and reads the values of one type. Text is stored as it is, so that any Tink reader can read it. */
export interface ValueCodec {
  /** Describes a valid value, for error messages. */
  readonly expected: string
  /** The most bytes that a value takes, if the type has a limit. */
  readonly maxBytes?: number
  /** @returns the text, or `undefined` if the value has another type. */
  readonly write: (value: unknown) => string | undefined
  /** May throw any error; the caller replaces it. */
  readonly read: (text: string) => unknown
}

const text: ValueCodec = {
  expected: 'a well-formed string',
  write: (value) => (typeof value === 'string' && value.isWellFormed() ? value : undefined),
  read: (text) => text,
}

const number: ValueCodec = {
  expected: 'a finite number',
  maxBytes: 25,
  // JSON.stringify(-0) is '0'.
  write: (value) =>
    Number.isFinite(value) ? (Object.is(value, -0) ? '-0' : JSON.stringify(value)) : undefined,
  read: (text) => Number(text),
}

const integer: ValueCodec = {
  ...number,
  expected: 'a safe integer',
  maxBytes: 17,
  write: (value) => (Number.isSafeInteger(value) ? String(value) : undefined),
}

const boolean: ValueCodec = {
  expected: 'true or false',
  maxBytes: 5,
  write: (value) => (typeof value === 'boolean' ? String(value) : undefined),
  read: (text) => text === 'true',
}

const date: ValueCodec = {
  expected: 'a valid date',
  maxBytes: 27,
  write: (value) =>
    value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : undefined,
  read: (text) => new Date(text),
}

const bigint: ValueCodec = {
  expected: 'a bigint',
  write: (value) => (typeof value === 'bigint' ? String(value) : undefined),
  read: BigInt,
}

const json: ValueCodec = {
  expected: 'a JSON value',
  write: (value) => {
    const text = JSON.stringify(value) as string | undefined
    return text?.isWellFormed() === true ? text : undefined
  },
  read: (text) => JSON.parse(text) as unknown,
}

const codecs: Readonly<Record<string, ValueCodec>> = {
  BigInt: bigint,
  Boolean: boolean,
  Date: date,
  Integer: integer,
  Number: number,
  String: text,
}

/** The codec of a schema. A schema of any other type is stored as JSON. */
export function codecOf(schema: TSchema): ValueCodec {
  const type = (schema as { readonly type?: unknown }).type
  if (schema[Kind] === 'Unsafe' && typeof type === 'string') {
    return codecs[type.charAt(0).toUpperCase() + type.slice(1)] ?? json
  }
  return codecs[schema[Kind]] ?? json
}
