/** Ids that are derived from what they name, so that a second attempt makes the same one. */
import { createHash } from 'node:crypto'

/** A UUID of version 8. @see RFC 9562, section 5.8 */
export function derivedId(...names: readonly string[]): string {
  const bytes = createHash('sha256').update(names.join('\0')).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
