/** The ids of a table's migrations. */
import { createHash } from 'node:crypto'
import type { TableLayout } from '../schema/table-layout.ts'

const HASH_LENGTH = 8

/**
 * An id for each table, version and text: `0001_field_encryption_users_1f3a0c2e`. A table that gets
 * another encrypted member gets another id, because the text of a migration that has run never changes.
 */
export function migrationId(
  { table, version }: Pick<TableLayout, 'table' | 'version'>,
  sql: string,
  step?: string,
): string {
  const hash = createHash('sha256').update(`${table}\n${sql}`).digest('hex').slice(0, HASH_LENGTH)
  const number = String(version).padStart(4, '0')
  const name = table.toLowerCase()
  return [number, 'field_encryption', name, hash, step]
    .filter((part) => part !== undefined)
    .join('_')
}
