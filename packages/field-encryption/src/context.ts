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

/**
 * The associated data of a cell, byte for byte what kit's `encodeContext` makes of
 * {@link contextParts}: the column's half, and behind it what differs from row to row.
 *
 * @param rowId well-formed text.
 * @param schemaVersion ASCII.
 */
export function joinContext(head: Buffer, rowId: string, schemaVersion: string): Buffer {
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

/** 64 bits, little-endian; no text is so long that the upper half is used. */
function writeLength(bytes: Buffer, length: number, at: number): void {
  bytes.writeUInt32LE(length, at)
  bytes.writeUInt32LE(0, at + 4)
}
