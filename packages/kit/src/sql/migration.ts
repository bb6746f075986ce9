/** A migration: its shape, what it may contain, and its checksum. */
import { createHash } from 'node:crypto'
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import { findControl } from './statements.ts'

/** One step of a schema. Once released, its text never changes. */
export interface Migration {
  /** Number and name: `0001_create_events`. Ids sort in the order they run. */
  readonly id: string
  /** Statements without COMMIT, ROLLBACK and the like: the runner owns the transaction. */
  readonly sql: string
  /**
   * `false` for one statement that PostgreSQL refuses inside a transaction, such as `CREATE INDEX
   * CONCURRENTLY`. It must be repeatable (`IF NOT EXISTS`): it may have run although it is not in the
   * ledger. @default true
   */
  readonly inTransaction?: boolean
  /**
   * `true` for a migration that needs no other one of the list, such as the table of one entity: it may
   * stand anywhere in the list, and be added before migrations that have run. @default false
   */
  readonly independent?: boolean
}

/** @throws PARAPET_KIT_INVALID_ARGUMENT an id is malformed or out of order, or SQL controls the transaction. */
export function requireSound(owner: string, migrations: readonly Migration[]): void {
  let previous = ''
  const ids = new Set<string>()
  for (const { id, sql, independent } of migrations) {
    const name = `migration "${id}" of "${owner}"`
    const isInOrder = independent === true ? !ids.has(id) : id > previous
    if (!/^\d{4}_[a-z0-9_]+$/.test(id) || !isInOrder) {
      throw new PARAPET_KIT_INVALID_ARGUMENT(
        name,
        'must be named like 0001_create_events and sort after the one before it',
      )
    }
    ids.add(id)
    const control = findControl(sql)
    if (control !== undefined) {
      const problem = `must not contain "${control}": what it commits cannot be rolled back`
      throw new PARAPET_KIT_INVALID_ARGUMENT(name, problem)
    }
    if (independent !== true) previous = id
  }
}

/** The checksum of the text, as in the ledger. A checkout may have changed the line ends. */
export function checksumOf({ sql }: Migration): string {
  return createHash('sha256').update(sql.replaceAll('\r\n', '\n')).digest('hex')
}
