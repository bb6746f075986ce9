/** Pagination cursors: the id of the last row of a page, encoded so that clients treat it as opaque. */
import { PARAPET_REFERENCE_INVALID_CURSOR } from '../errors.ts'

/** Encodes the 16 bytes of an id as base64url. */
export function encodeCursor(id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

/** @throws PARAPET_REFERENCE_INVALID_CURSOR the text was not created by {@link encodeCursor}. */
export function decodeCursor(cursor: string): string {
  const hex = Buffer.from(cursor, 'base64url').toString('hex')
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  // Node's decoder skips invalid characters, so the result must encode to the same text again.
  if (id.length !== 36 || encodeCursor(id) !== cursor) throw new PARAPET_REFERENCE_INVALID_CURSOR()
  return id
}
