/** What callers hand over, checked. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'

/** A name of a row, as text: drivers hand over an int8 as a text or as a bigint. */
export function textOf(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '' && value.isWellFormed()) return value
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value)
  return refuse(what, 'must be a non-empty string or a whole number')
}

/** @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function refuse(what: string, problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(what, problem)
}
