/**
 * The SQL of one table: columns with length checks, unique indexes, row-level security, and columns
 * that the database itself encrypts.
 */
import {
  SEALED_MARK,
  sealedTextLength,
  type Migration,
  type Principal,
  type SqlClient,
} from '@parapet/kit'
import { MAX_CIPHERTEXT_LENGTH } from '../crypto/aead.ts'
import { columnsOf } from '../crypto/blind-index.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import { maxCiphertextLength } from '../schema/plaintext.ts'
import { quoteBuiltName, quoteName } from './identifiers.ts'
import { pgcryptoSql } from './pgcrypto.ts'
import { rowSecuritySql } from './row-level-security.ts'
import { createPostgresRowSource } from './row-source-postgres.ts'
import type { RowSource } from './row-source.ts'

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
   */
  migration(options?: MigrationOptions): Migration
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

const HEX_BITS = 4

/** Creates the {@link TableSql} of a table. @param ids the id columns */
export function createTableSql(
  table: string,
  columns: ReadonlyMap<string, SchemaNode>,
  ids: readonly string[],
): TableSql {
  return {
    migration({ owner, adminRole = 'admin', pgcrypto = [] } = {}) {
      const parts = [...columns].map(([name, node]) => columnSql(table, name, node))
      if (pgcrypto.length > 0) parts.push(pgcryptoSql(table, pgcrypto))
      if (owner !== undefined) parts.push(rowSecuritySql(table, owner, adminRole))
      return { id: '0001_field_encryption', sql: `${parts.join('\n')}\n` }
    },
    rowSource: (sql, tenant, principal) =>
      createPostgresRowSource(sql, { table, columns, ids, tenant, principal }),
  }
}

function columnSql(table: string, name: string, node: SchemaNode): string {
  const column = quoteName(name)
  if (node.kind !== 'leaf') {
    return `ALTER TABLE ${quoteName(table)} ADD COLUMN IF NOT EXISTS ${column} jsonb;`
  }
  const longest = maxCiphertextLength(node.field) ?? MAX_CIPHERTEXT_LENGTH
  const check = quoteBuiltName(`${table}_${name}_sealed`)
  const lines = [
    `ALTER TABLE ${quoteName(table)} ADD COLUMN IF NOT EXISTS ${column} text;`,
    `ALTER TABLE ${quoteName(table)} ADD CONSTRAINT ${check}`,
    `  CHECK (${column} LIKE '${SEALED_MARK}%' AND length(${column}) BETWEEN ${sealedTextLength(0)} AND ${longest});`,
  ]
  for (const [indexName, index] of node.field.indexes) {
    for (const each of columnsOf(indexName, index)) {
      const digits = 2 * Math.ceil(index.bits / (2 * HEX_BITS))
      const kind = index.unique ? 'UNIQUE INDEX' : 'INDEX'
      const indexId = quoteBuiltName(`${table}_${each}_idx`)
      lines.push(
        `ALTER TABLE ${quoteName(table)} ADD COLUMN IF NOT EXISTS ${quoteName(each)} text`,
        `  CHECK (${quoteName(each)} ~ '^[0-9a-f]{${digits}}$');`,
        `CREATE ${kind} ${indexId} ON ${quoteName(table)} (${quoteName(each)});`,
      )
    }
  }
  return lines.join('\n')
}
