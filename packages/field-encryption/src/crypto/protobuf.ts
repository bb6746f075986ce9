/**
 * Reads and writes the protocol buffers that Tink's keysets consist of. They only use varints and
 * length-delimited fields.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */
import { PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET } from '../errors.ts'

/** One field of a message: a number, or bytes. */
export interface MessageField {
  readonly number: number
  readonly value: number | Buffer
}

const VARINT = 0
const BYTES = 2
/** No number in a keyset is larger than 32 bits. */
const MAX_VARINT_BYTES = 5

/** Reads the fields of a message, in order. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function readMessage(bytes: Uint8Array): MessageField[] {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const fields: MessageField[] = []
  let at = 0
  function readVarint(): number {
    let value = 0
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      const byte = source[at++]
      if (byte === undefined) {
        throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('its bytes are truncated')
      }
      value += (byte & 0x7f) * 2 ** (7 * count)
      if (byte < 0x80) return value
    }
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('its bytes have a number over 32 bits')
  }
  while (at < source.length) {
    const tag = readVarint()
    const number = tag >>> 3
    if ((tag & 7) === VARINT) fields.push({ number, value: readVarint() })
    else if ((tag & 7) === BYTES) {
      const end = readVarint() + at
      if (end > source.length) {
        throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('its bytes are truncated')
      }
      fields.push({ number, value: source.subarray(at, end) })
      at = end
    } else {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('its bytes have a field of an unknown type')
    }
  }
  return fields
}

/** The bytes of the field `number`; empty if the field is missing. The last one counts, as in proto3. */
export function bytesField(fields: readonly MessageField[], number: number): Buffer {
  const value = fields.findLast((field) => field.number === number)?.value
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0)
}

/** The number in the field `number`; 0 if the field is missing. */
export function numberField(fields: readonly MessageField[], number: number): number {
  const value = fields.findLast((field) => field.number === number)?.value
  return typeof value === 'number' ? value : 0
}

/** Writes a message. The number 0 and empty bytes are left out, as in proto3. */
export function writeMessage(
  fields: readonly (readonly [number: number, value: number | Uint8Array])[],
): Buffer {
  const pieces: Uint8Array[] = []
  for (const [number, value] of fields) {
    if (typeof value === 'number') {
      if (value !== 0) pieces.push(encodeVarint(number * 8 + VARINT), encodeVarint(value))
    } else if (value.length > 0) {
      pieces.push(encodeVarint(number * 8 + BYTES), encodeVarint(value.length), value)
    }
  }
  return Buffer.concat(pieces)
}

function encodeVarint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  return Buffer.from([...bytes, rest])
}
