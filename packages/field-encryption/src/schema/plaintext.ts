/** The plaintext of a value: its bytes, with optional padding that hides their length. */
import { MAX_PLAINTEXT_BYTES } from '../crypto/aead.ts'
import { sealedTextLength } from '@parapet/kit'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from '../errors.ts'
import type { EncryptedField } from './encrypted.ts'
import type { ValueCodec } from './value-codecs.ts'

/** Separates a padded value from the zeros after it. @see ISO/IEC 7816-4 */
const PAD_MARK = 0x80
/** A character of JSON Schema's `maxLength` takes at most this many bytes of UTF-8. */
const CHARACTER_BYTES = 4

/**
 * Writes the plaintext of a value.
 *
 * @param column for the error message.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_VALUE the value has another type, or is too long.
 */
export function writePlaintext(
  { codec, maxLength, padBytes }: Pick<EncryptedField, 'codec' | 'maxLength' | 'padBytes'>,
  value: unknown,
  column: string,
): string | Buffer {
  const text = writeSafely(codec, value)
  if (text === undefined) throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(column, codec.expected)
  // The same bound as the constraint of the column, which a longer ciphertext would violate.
  const bytes = maxLength === undefined ? Infinity : maxLength * CHARACTER_BYTES
  if (text.length * 3 > bytes && Buffer.byteLength(text) > bytes) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(column, `at most ${maxLength} characters long`)
  }
  // A UTF-16 unit takes at most three bytes, so the bytes of most texts need not be counted.
  if (text.length * 3 > MAX_PLAINTEXT_BYTES && Buffer.byteLength(text) > MAX_PLAINTEXT_BYTES) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(column, 'at most 16 MiB long')
  }
  if (padBytes === 0) return text
  const length = Buffer.byteLength(text)
  const padded = Buffer.alloc(paddedLength(length, padBytes))
  padded.write(text)
  padded[length] = PAD_MARK
  return padded
}

/** A circular object, or a `toJSON` that throws, is an invalid value and not a crash. */
function writeSafely({ write }: ValueCodec, value: unknown): string | undefined {
  try {
    return write(value)
  } catch {
    return undefined
  }
}

/**
 * Reads the value of a plaintext.
 *
 * @param writtenAs the codec in the context of the value; `undefined`: it was written before codecs
 *   were part of the context.
 * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED it has another format, or no value of the field's type.
 */
export function readPlaintext(
  field: EncryptedField,
  plaintext: Buffer,
  isPadded: boolean,
  writtenAs: ValueCodec | undefined,
): unknown {
  const text = (isPadded ? removePadding(plaintext) : plaintext).toString('utf8')
  const { codec, untagged } = field
  if (writtenAs === codec) return readStrictly(codec, text)
  const candidates = writtenAs === undefined ? [untagged, codec] : [writtenAs]
  for (const candidate of candidates) {
    const value = readSafely(candidate, text)
    // What the codec of today would not write is a value of another type: "12" must not become 12.
    if (value !== undefined && writeSafely(codec, value) !== undefined) return value
  }
  throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
}

function removePadding(plaintext: Buffer): Buffer {
  const end = plaintext.lastIndexOf(PAD_MARK)
  const rest = plaintext.subarray(end + 1)
  if (end === -1 || rest.some((byte) => byte !== 0)) {
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
  return plaintext.subarray(0, end)
}

function readStrictly(codec: ValueCodec, text: string): unknown {
  try {
    return codec.read(text)
  } catch {
    // The codec's own error would quote the plaintext.
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
}

function readSafely(codec: ValueCodec, text: string): unknown {
  try {
    return codec.read(text)
  } catch {
    return undefined
  }
}

/** The padded length of `length` bytes; the mark takes one. */
function paddedLength(length: number, padBytes: number): number {
  return padBytes === 0 ? length : Math.ceil((length + 1) / padBytes) * padBytes
}

/** The most characters of a field's ciphertext; `undefined` if the schema sets no limit. */
export function maxCiphertextLength(field: EncryptedField, maxBytes?: number): number | undefined {
  const { maxLength, codec, padBytes } = field
  const schemaBytes = maxLength === undefined ? codec.maxBytes : maxLength * CHARACTER_BYTES
  const bytes = maxBytes ?? schemaBytes
  return bytes === undefined ? undefined : sealedTextLength(paddedLength(bytes, padBytes))
}
