/** Typed values as bytes and back: what goes in as a date, a number or an object comes out as one. */
import type { TSchema } from '@sinclair/typebox'
import { Kind } from '@sinclair/typebox'
import { MAX_PLAINTEXT_BYTES } from './aead.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from './errors.ts'

/** How one type is written. Text is stored as it is, so that any reader of Tink sees it. */
export interface ValueCodec {
  /** What a value must be, for the message. */
  readonly expected: string
  /** The most bytes any value takes, where the type sets a bound. */
  readonly maxBytes?: number
  /** @returns the text, or `undefined` where the value has another type. */
  readonly write: (value: unknown) => string | undefined
  /** @throws what it likes; the caller tells nothing of it. */
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
  // JSON has no negative zero.
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

/** The codec of a schema; whatever is no plain type is kept as JSON. */
export function codecOf(schema: TSchema): ValueCodec {
  const type = (schema as { readonly type?: unknown }).type
  if (schema[Kind] === 'Unsafe' && typeof type === 'string') {
    return codecs[type.charAt(0).toUpperCase() + type.slice(1)] ?? json
  }
  return codecs[schema[Kind]] ?? json
}

/** After the text and before the zeros of a padded value. @see ISO/IEC 7816-4 */
const PAD_MARK = 0x80

/**
 * The plaintext of a value.
 *
 * @param padBytes the length is rounded up to a multiple of it; 0 leaves it as it is.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_VALUE another type, or over 16 MiB.
 */
export function writeValue(
  codec: ValueCodec,
  value: unknown,
  padBytes: number,
  column: string,
): string | Buffer {
  const text = writeSafely(codec, value)
  if (text === undefined) throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(column, codec.expected)
  // A character takes at most three bytes, so that most texts need not be measured.
  if (text.length * 3 > MAX_PLAINTEXT_BYTES && Buffer.byteLength(text) > MAX_PLAINTEXT_BYTES) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(column, 'of at most 16 MiB')
  }
  if (padBytes === 0) return text
  const length = Buffer.byteLength(text)
  const padded = Buffer.alloc(paddedLength(length, padBytes))
  padded.write(text)
  padded[length] = PAD_MARK
  return padded
}

/** A circular object or a `toJSON` that throws is another type, not a crash. */
function writeSafely({ write }: ValueCodec, value: unknown): string | undefined {
  try {
    return write(value)
  } catch {
    return undefined
  }
}

/** The value in a plaintext. @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED it was written otherwise. */
export function readValue(codec: ValueCodec, plaintext: Buffer, padded: boolean): unknown {
  if (!padded) return parse(codec, plaintext)
  const end = plaintext.lastIndexOf(PAD_MARK)
  const rest = plaintext.subarray(end + 1)
  if (end === -1 || rest.some((byte) => byte !== 0)) {
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
  return parse(codec, plaintext.subarray(0, end))
}

function parse(codec: ValueCodec, plaintext: Buffer): unknown {
  try {
    return codec.read(plaintext.toString('utf8'))
  } catch {
    // The reader's own message would quote the plaintext.
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
}

/** The bytes that `length` bytes take once padded; the mark needs one. */
export function paddedLength(length: number, padBytes: number): number {
  return padBytes === 0 ? length : Math.ceil((length + 1) / padBytes) * padBytes
}
