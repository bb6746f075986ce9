/**
 * The SQL of one table: columns with length checks, unique indexes, row-level security, and columns
 * that the database itself encrypts.
 */
import type { Migration, Principal, SqlClient } from '@parapet/kit'
import { callOption, checkCall } from '../call-options.ts'
import { addCheck, addColumns, checksOf, createIndexes, validateCheck } from './column-sql.ts'
import { migrationId } from './migration-id.ts'
import { pgcryptoSql } from './pgcrypto.ts'
import { rowSecuritySql } from './row-level-security.ts'
import { createPostgresRowSource } from './row-source-postgres.ts'
import type { RowSource } from '../rows/row-source.ts'
import { createStages, type MigrationStages } from './stages.ts'
import type { TableLayout } from '../schema/table-layout.ts'

/** The options of {@link TableSql.migration}. */
export interface MigrationOptions {
  /** The member with the id of the row's owner. It switches row-level security on. @default off */
  readonly owner?: string
  /** The role that sees every row. @default 'admin' */
  readonly adminRole?: string
  /** Members that pgcrypto encrypts, for reports in SQL; stored as `bytea`. @default none */
  readonly pgcrypto?: readonly string[]
}

/** The SQL of one table, for PostgreSQL. */
export interface TableSql {
  /**
   * Returns the migration that adds columns, length checks and indexes to an existing table, and
   * row-level security and pgcrypto columns if the options ask for them. Run it with kit's `migrate`.
   * It fails if the table has plaintext in a column that is to be encrypted: use {@link TableSql.stages}.
   *
   * Its id is that of the table, its version and its text, and its statements can run again: after a
   * change of the schema, run the new one in place of the old one. It is independent of other migrations:
   * one list may have those of several tables, in any order.
   */
  migration(options?: MigrationOptions): Migration
  /** Returns the stages for a table with plaintext rows; see the option `plaintext` of the table. */
  stages(): MigrationStages
  /**
   * Returns the rows of the table, for `reencrypt` and `status`.
   *
   * @param tenant selects the rows of one tenant by a column and its value.
   * @param principal required if row-level security is on; must see every row.
   */
  rowSource(
    sql: SqlClient,
    tenant?: { readonly column: string; readonly value: string },
    principal?: Pick<Principal, 'id' | 'roles'>,
  ): RowSource
}

const migrationTable = {
  owner: callOption.text,
  adminRole: callOption.text,
  pgcrypto: callOption.texts,
}

/** Creates the {@link TableSql} of a table. */
export function createTableSql(layout: TableLayout): TableSql {
  const { table } = layout
  return {
    migration(options = {}) {
      checkCall<MigrationOptions>('migration', options, migrationTable)
      const { owner, adminRole = 'admin', pgcrypto = [] } = options
      const checks = checksOf(layout)
      const parts = [
        ...addColumns(layout),
        ...checks.map((check) => addCheck(table, check)),
        ...checks.map((check) => validateCheck(table, check)),
        ...createIndexes(layout, false),
      ]
      if (pgcrypto.length > 0) parts.push(pgcryptoSql(table, pgcrypto))
      if (owner !== undefined) parts.push(rowSecuritySql(table, owner, adminRole))
      const sql = `${parts.join('\n')}\n`
      return { id: migrationId(layout, sql), sql, independent: true }
    },
    stages: () => createStages(layout),
    rowSource: (sql, tenant, principal) =>
      createPostgresRowSource(sql, { ...layout, tenant, principal }),
  }
}
