/** Pagination cursors: the id of the last row of a page, encoded so that clients treat it as opaque. */
import { PARAPET_REFERENCE_INVALID_CURSOR } from '../errors.ts'

const ID_BYTES = 16

/** Encodes the 16 bytes of an id as base64url. */
export function encodeCursor(id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

/** @throws PARAPET_REFERENCE_INVALID_CURSOR the text was not created by {@link encodeCursor}. */
export function decodeCursor(cursor: string): string {
  const bytes = Buffer.from(cursor, 'base64url')
  // Node's decoder skips invalid characters, so the bytes must encode to the same text again.
  if (bytes.length !== ID_BYTES || bytes.toString('base64url') !== cursor) {
    throw new PARAPET_REFERENCE_INVALID_CURSOR()
  }
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
