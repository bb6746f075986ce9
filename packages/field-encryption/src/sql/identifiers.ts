/** Names in SQL. */
import { createHash } from 'node:crypto'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'

/** PostgreSQL truncates longer names. */
const MAX_NAME_LENGTH = 63
const HASH_LENGTH = 8
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/** A dialect of SQL. */
export type Dialect = 'postgres' | 'mysql' | 'sqlite'

/** Quotes a name. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT it has other characters. */
export function quoteName(name: string, dialect: Dialect = 'postgres'): string {
  if (!NAME.test(name)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'a name in SQL',
      `must match ${String(NAME)}, got "${name}"`,
    )
  }
  return dialect === 'mysql' ? `\`${name}\`` : `"${name}"`
}

/**
 * Quotes a name that is built from others. A longer one than PostgreSQL keeps is shortened, and ends
 * with a hash, so that two long names stay two names.
 */
export function quoteBuiltName(name: string): string {
  if (name.length <= MAX_NAME_LENGTH) return quoteName(name)
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASH_LENGTH)
  return quoteName(`${name.slice(0, MAX_NAME_LENGTH - HASH_LENGTH - 1)}_${hash}`)
}
