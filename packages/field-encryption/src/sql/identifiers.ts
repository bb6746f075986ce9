/** Names in SQL. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'

/** PostgreSQL truncates longer names. */
const MAX_NAME_LENGTH = 63
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/** Quotes a name. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT it has other characters. */
export function quoteName(name: string): string {
  if (!NAME.test(name)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'a name in SQL',
      `must match ${String(NAME)}, got "${name}"`,
    )
  }
  return `"${name}"`
}

/** Quotes a name that is built from others, shortened to the length that PostgreSQL keeps. */
export function quoteBuiltName(name: string): string {
  return quoteName(name.slice(0, MAX_NAME_LENGTH))
}
