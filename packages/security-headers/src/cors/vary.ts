/** The header `Vary`. @see RFC 9110, section 12.5.5 */
import { listNames } from './header-list.ts'

/** The request headers that the response to a preflight depends on. */
export const PREFLIGHT_VARY =
  'Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network'

/** Adds header names to the value of `Vary`, without repeating any. @param before the present value. */
export function addVary(before: unknown, added: string): string {
  const text = Array.isArray(before) ? before.join(', ') : typeof before === 'string' ? before : ''
  if (text === '') return added
  const present = new Set(listNames(text))
  if (present.has('*')) return text
  const missing = added.split(', ').filter((name) => !present.has(name.toLowerCase()))
  return [text, ...missing].join(', ')
}
