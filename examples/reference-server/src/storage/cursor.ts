/** Cursors: where a page ended, in a form that invites nobody to build one. */
import { PARAPET_REFERENCE_INVALID_CURSOR } from './errors.ts'

/** The 16 bytes of the last row's id, as base64url. */
export function encodeCursor(id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

/** @throws PARAPET_REFERENCE_INVALID_CURSOR it is not what {@link encodeCursor} writes. */
export function decodeCursor(cursor: string): string {
  const hex = Buffer.from(cursor, 'base64url').toString('hex')
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  // The decoder skips what it does not know: only a text that comes out the same again was a cursor.
  if (id.length !== 36 || encodeCursor(id) !== cursor) throw new PARAPET_REFERENCE_INVALID_CURSOR()
  return id
}
