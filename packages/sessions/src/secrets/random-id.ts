/** Random ids of sessions, tokens and logins. */
import { takeRandom } from '@parapet/kit'

const ID_BYTES = 16
const ID = /^[\w-]{22}$/

/** A new id: 128 random bits in base64url, 22 characters. */
export function randomId(): string {
  return takeRandom(ID_BYTES).toString('base64url')
}

/** Whether a value has the form of {@link randomId}. */
export function isRandomId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value)
}
