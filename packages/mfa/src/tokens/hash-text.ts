/** Hashes secrets and long texts so that they can be stored and compared. */
import { createHash } from 'node:crypto'

/** SHA-256 as base64url. It is fast: use it only for values that cannot be guessed. */
export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
