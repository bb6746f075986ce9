/**
 * The few protocol buffers that Tink's keysets are made of, read and written by hand: varints and
 * length-delimited fields are all they need.
 *
 * @see https://github.com/tink-crypto/tink-java `proto/tink.proto`
 */
import { PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET } from './errors.ts'

/** One field of a message: a number, or bytes. */
export interface ProtoField {
  readonly number: number
  readonly value: number | Buffer
}

const VARINT = 0
const BYTES = 2
/** Nothing in a keyset is larger than 32 bits. */
const MAX_VARINT_BYTES = 5

/** Reads a message into its fields, in order. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function readProto(bytes: Uint8Array): ProtoField[] {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const fields: ProtoField[] = []
  let at = 0
  function varint(): number {
    let value = 0
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      const byte = source[at++]
      if (byte === undefined) throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('it is cut short')
      value += (byte & 0x7f) * 2 ** (7 * count)
      if (byte < 0x80) return value
    }
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('it holds a number out of range')
  }
  while (at < source.length) {
    const tag = varint()
    const number = tag >>> 3
    if ((tag & 7) === VARINT) fields.push({ number, value: varint() })
    else if ((tag & 7) === BYTES) {
      const end = varint() + at
      if (end > source.length) throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('it is cut short')
      fields.push({ number, value: source.subarray(at, end) })
      at = end
    } else throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('it holds an unknown kind of field')
  }
  return fields
}

/** The bytes of field `number`, empty where it is absent. */
export function bytesField(fields: readonly ProtoField[], number: number): Buffer {
  const value = fields.findLast((field) => field.number === number)?.value
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0)
}

/** The number in field `number`, 0 where it is absent. */
export function numberField(fields: readonly ProtoField[], number: number): number {
  const value = fields.findLast((field) => field.number === number)?.value
  return typeof value === 'number' ? value : 0
}

/** Writes a message; a number 0 and empty bytes are left out, as proto3 does. */
export function writeProto(
  fields: readonly (readonly [number: number, value: number | Uint8Array])[],
): Buffer {
  const pieces: Uint8Array[] = []
  for (const [number, value] of fields) {
    if (typeof value === 'number') {
      if (value !== 0) pieces.push(varintOf(number * 8 + VARINT), varintOf(value))
    } else if (value.length > 0) {
      pieces.push(varintOf(number * 8 + BYTES), varintOf(value.length), value)
    }
  }
  return Buffer.concat(pieces)
}

function varintOf(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  return Buffer.from([...bytes, rest])
}
