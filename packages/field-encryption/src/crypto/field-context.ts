/**
 * The context of a field: the associated data that binds a ciphertext to its table cell.
 *
 * @see docs/spec/field-context.md
 */
import { encodeContext } from '@parapet/kit'

/** The first part of every context. */
const CONTEXT_VERSION = 'fe1'
const PARTS = 6
const LENGTH_BYTES = 8

/** The table cell that a value belongs to. */
export interface FieldContext {
  /** `''` in a service with one tenant. */
  readonly tenant: string
  readonly table: string
  /** The path of the value in its row: `email`, `phones.0.number`. */
  readonly column: string
  readonly rowId: string
  /**
   * Version of the schema and type of the value: `1;text`. The types are `text`, `number`, `integer`,
   * `boolean`, `date`, `bigint`, `bytes` and `json`; `;pad` follows if the plaintext is padded.
   */
  readonly schemaVersion: string
}

/** The parts of a context, for kit's `Cipher`. */
export function contextParts(context: FieldContext): readonly string[] {
  const { tenant, table, column, rowId, schemaVersion } = context
  return [CONTEXT_VERSION, tenant, table, column, rowId, schemaVersion]
}

/** The first half of a context, which is the same for every row of a column. */
export function contextHead(tenant: string, table: string, column: string): Buffer {
  const bytes = encodeContext([CONTEXT_VERSION, tenant, table, column])
  // The first number counts the parts of the whole context, not of this half.
  bytes.writeUInt8(PARTS, 0)
  return bytes
}

/** Reused by every call: allocating a buffer for each context would cost more than the cipher. */
const SCRATCH = Buffer.allocUnsafeSlow(512)
/** Views of the first bytes of SCRATCH, by length, created on first use. */
const views: (Buffer | undefined)[] = Array.from({ length: SCRATCH.length + 1 })

/**
 * The associated data of one cell, byte for byte what kit's `encodeContext` returns for
 * {@link contextParts}.
 *
 * @param head from {@link contextHead}.
 * @param rowId well-formed text.
 * @param schemaVersion ASCII.
 * @returns bytes that the next call may overwrite: pass them to a cipher at once.
 */
export function joinContext(head: Buffer, rowId: string, schemaVersion: string): Buffer {
  const idAt = head.length + LENGTH_BYTES
  const length = idAt + rowId.length + LENGTH_BYTES + schemaVersion.length
  if (length > SCRATCH.length) return joinAnyContext(head, rowId, schemaVersion)
  const bytes = (views[length] ??= SCRATCH.subarray(0, length))
  if (!writeAscii(bytes, rowId, idAt)) return joinAnyContext(head, rowId, schemaVersion)
  bytes.set(head, 0)
  writeLength(bytes, rowId.length, head.length)
  const versionAt = idAt + rowId.length
  writeLength(bytes, schemaVersion.length, versionAt)
  writeAscii(bytes, schemaVersion, versionAt + LENGTH_BYTES)
  return bytes
}

/** The slow path, for a row id that is long or not ASCII. */
function joinAnyContext(head: Buffer, rowId: string, schemaVersion: string): Buffer {
  const idBytes = Buffer.byteLength(rowId)
  const versionAt = head.length + LENGTH_BYTES + idBytes
  const bytes = Buffer.allocUnsafe(versionAt + LENGTH_BYTES + schemaVersion.length)
  bytes.set(head, 0)
  writeLength(bytes, idBytes, head.length)
  bytes.write(rowId, head.length + LENGTH_BYTES)
  writeLength(bytes, schemaVersion.length, versionAt)
  bytes.write(schemaVersion, versionAt + LENGTH_BYTES, 'latin1')
  return bytes
}

/**
 * Writes ASCII text byte by byte: `Buffer.write` takes three times as long for a short text.
 *
 * @returns `false` if the text is not ASCII; `bytes` is then partly written.
 */
function writeAscii(bytes: Buffer, text: string, at: number): boolean {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) return false
    bytes[at + index] = unit
  }
  return true
}

/** Writes 64 bits, little-endian. No text is long enough to use the upper half. */
function writeLength(bytes: Buffer, length: number, at: number): void {
  bytes.writeUInt32LE(length, at)
  bytes.writeUInt32LE(0, at + 4)
}
