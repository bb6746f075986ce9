/** One way from a secret, or from a text of any length, to something that may be stored and compared. */
import { createHash } from 'node:crypto'

/** SHA-256 as base64url. Only for what cannot be guessed: it is fast. */
export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
