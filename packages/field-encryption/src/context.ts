/**
 * Where a value belongs: the associated data that ties a ciphertext to its cell.
 *
 * @see docs/spec/field-context.md
 */
import { encodeContext } from '@parapet/kit'

/** What every context begins with. */
const CONTEXT_VERSION = 'fe1'
const PARTS = 6
const LENGTH_BYTES = 8

/** The cell a value belongs to. */
export interface FieldContext {
  /** Empty in a service of one tenant. */
  readonly tenant: string
  readonly table: string
  /** The path of the value in its row: `email`, `phones.0.number`. */
  readonly column: string
  readonly rowId: string
  readonly schemaVersion: string
}

/** The parts of a context, general to particular, for kit's `Cipher`. */
export function contextParts(context: FieldContext): readonly string[] {
  const { tenant, table, column, rowId, schemaVersion } = context
  return [CONTEXT_VERSION, tenant, table, column, rowId, schemaVersion]
}

/** The half that a column has in every row. */
export function contextHead(tenant: string, table: string, column: string): Buffer {
  const bytes = encodeContext([CONTEXT_VERSION, tenant, table, column])
  // The number of parts stands in front, of the whole list.
  bytes.writeUInt8(PARTS, 0)
  return bytes
}

/** Where most associated data are put together: a buffer of their own would cost more than the cipher. */
const ROOM = Buffer.allocUnsafeSlow(512)
/** The first bytes of the room, by how many; made when they are first needed. */
const views: (Buffer | undefined)[] = Array.from({ length: ROOM.length + 1 })

/**
 * The associated data of a cell, byte for byte what kit's `encodeContext` makes of
 * {@link contextParts}: the column's half, and behind it what differs from row to row.
 *
 * @param rowId well-formed text.
 * @param schemaVersion ASCII.
 * @returns bytes that the next call may overwrite: give them to a cipher at once.
 */
export function joinContext(head: Buffer, rowId: string, schemaVersion: string): Buffer {
  const idAt = head.length + LENGTH_BYTES
  const length = idAt + rowId.length + LENGTH_BYTES + schemaVersion.length
  if (length > ROOM.length) return joinAnyContext(head, rowId, schemaVersion)
  const bytes = (views[length] ??= ROOM.subarray(0, length))
  if (!writeAscii(bytes, rowId, idAt)) return joinAnyContext(head, rowId, schemaVersion)
  bytes.set(head, 0)
  writeLength(bytes, rowId.length, head.length)
  const versionAt = idAt + rowId.length
  writeLength(bytes, schemaVersion.length, versionAt)
  writeAscii(bytes, schemaVersion, versionAt + LENGTH_BYTES)
  return bytes
}

/** For a row id that is long, or not ASCII. */
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

/** @returns whether the text is ASCII; `Buffer.write` takes three times as long for a short one. */
function writeAscii(bytes: Buffer, text: string, at: number): boolean {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) return false
    bytes[at + index] = unit
  }
  return true
}

/** 64 bits, little-endian; no text is so long that the upper half is used. */
function writeLength(bytes: Buffer, length: number, at: number): void {
  bytes.writeUInt32LE(length, at)
  bytes.writeUInt32LE(0, at + 4)
}
