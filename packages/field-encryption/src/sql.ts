/**
 * What PostgreSQL needs to know of a table: columns with bounds, unique indexes, row-level security,
 * and, for what the database itself encrypts, functions and a view whose key is a setting of the
 * transaction.
 *
 * @see https://www.postgresql.org/docs/current/ddl-rowsecurity.html
 */
import type { Migration, Principal, SqlClient, SqlTransaction } from '@parapet/kit'
import { MARK, MAX_PLAINTEXT_BYTES, textLengthOf } from './aead.ts'
import { columnsOf } from './blind-index.ts'
import type { EncryptedField } from './encrypted.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'
import type { Row } from './record-cipher.ts'
import type { RowSource } from './reencrypt.ts'
import type { SchemaNode } from './schema.ts'
import { paddedLength } from './values.ts'

/** What {@link TableSql.migration} takes beside the schema. */
export interface MigrationOptions {
  /** The member that holds the id of the row's owner: switches row-level security on. @default off */
  readonly owner?: string
  /** The role that sees every row. @default 'admin' */
  readonly adminRole?: string
  /** Members that the database encrypts by pgcrypto, for reports in SQL; stored as `bytea`. @default none */
  readonly pgcrypto?: readonly string[]
}

/** See {@link createTableSql}. */
export interface TableSql {
  /**
   * The migration that makes an existing table fit: columns, length checks, unique indexes; row-level
   * security and pgcrypto where the options ask for them. Run it with kit's `migrate`.
   */
  migration(options?: MigrationOptions): Migration
  /**
   * The rows of the table, for `reencrypt` and `status`.
   *
   * @param tenant the column and value of one tenant.
   * @param principal who reads and writes, where row-level security is on: it must see every row.
   */
  rowSource(
    sql: SqlClient,
    tenant?: { readonly column: string; readonly value: string },
    principal?: Pick<Principal, 'id' | 'roles'>,
  ): RowSource
}

/** A character of JSON Schema's `maxLength` takes at most this many bytes of UTF-8. */
const CHARACTER_BYTES = 4
const HEX_BITS = 4

/** Makes the SQL of one table. */
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
      createRowSource(sql, { table, columns, ids, tenant, principal }),
  }
}

/** The most characters of a field's stored text; `undefined` where nothing bounds it. */
export function lengthOf(field: EncryptedField, maxBytes?: number): number | undefined {
  const { maxLength, codec, padBytes } = field
  const schemaBytes = maxLength === undefined ? codec.maxBytes : maxLength * CHARACTER_BYTES
  const bytes = maxBytes ?? schemaBytes
  return bytes === undefined ? undefined : textLengthOf(paddedLength(bytes, padBytes))
}

/** A plain name, quoted. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT it is no plain name */
export function quote(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(`the name "${name}"`, 'is no plain name')
  }
  return `"${name}"`
}

function columnSql(table: string, name: string, node: SchemaNode): string {
  const column = quote(name)
  if (node.kind !== 'leaf') {
    return `ALTER TABLE ${quote(table)} ADD COLUMN IF NOT EXISTS ${column} jsonb;`
  }
  const longest = lengthOf(node.field) ?? textLengthOf(MAX_PLAINTEXT_BYTES)
  const check = quote(`${table}_${name}_sealed`.slice(0, 63))
  const lines = [
    `ALTER TABLE ${quote(table)} ADD COLUMN IF NOT EXISTS ${column} text;`,
    `ALTER TABLE ${quote(table)} ADD CONSTRAINT ${check}`,
    `  CHECK (${column} LIKE '${MARK}%' AND length(${column}) BETWEEN ${textLengthOf(0)} AND ${longest});`,
  ]
  for (const [indexName, index] of node.field.indexes) {
    for (const each of columnsOf(indexName, index)) {
      const digits = 2 * Math.ceil(index.bits / (2 * HEX_BITS))
      const kind = index.unique ? 'UNIQUE INDEX' : 'INDEX'
      const indexId = quote(`${table}_${each}_idx`.slice(0, 63))
      lines.push(
        `ALTER TABLE ${quote(table)} ADD COLUMN IF NOT EXISTS ${quote(each)} text`,
        `  CHECK (${quote(each)} ~ '^[0-9a-f]{${digits}}$');`,
        `CREATE ${kind} ${indexId} ON ${quote(table)} (${quote(each)});`,
      )
    }
  }
  return lines.join('\n')
}

/**
 * The key is in no statement, no view and no function: it is a setting that ends with the transaction.
 * What the functions call is bound as they are made, so that nobody's `search_path` puts another there.
 */
function pgcryptoSql(table: string, members: readonly string[]): string {
  const columns = members.map((name) => {
    const column = quote(name)
    return `ALTER TABLE ${quote(table)} ADD COLUMN IF NOT EXISTS ${column} bytea;`
  })
  const opened = members.map(
    (name) => `parapet_open(t.${quote(name)}) AS ${quote(`${name}_plain`)}`,
  )
  return `
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE OR REPLACE FUNCTION parapet_field_key() RETURNS text LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp AS $$
  DECLARE field_key text := current_setting('app.field_key', true);
  BEGIN
    IF field_key IS NULL OR field_key = '' THEN
      RAISE EXCEPTION 'this transaction has no field key' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN field_key;
  END $$;
CREATE OR REPLACE FUNCTION parapet_seal(plaintext text) RETURNS bytea LANGUAGE sql VOLATILE STRICT
  RETURN pgp_sym_encrypt(plaintext, parapet_field_key(), 'cipher-algo=aes256, s2k-mode=1');
CREATE OR REPLACE FUNCTION parapet_open(sealed bytea) RETURNS text LANGUAGE sql STABLE STRICT
  RETURN pgp_sym_decrypt(sealed, parapet_field_key());
${columns.join('\n')}
CREATE VIEW ${quote(`${table}_decrypted`)} WITH (security_invoker = true, security_barrier = true) AS
  SELECT t.*, ${opened.join(', ')} FROM ${quote(table)} t;`
}

function rowSecuritySql(table: string, owner: string, adminRole: string): string {
  requireRoleName(adminRole)
  const isAdmin = `'${adminRole}' = ANY (string_to_array(current_setting('app.user_role', true), ','))`
  const isOwner = `${quote(owner)}::text = nullif(current_setting('app.current_user_id', true), '')`
  return `
ALTER TABLE ${quote(table)} ENABLE ROW LEVEL SECURITY;
ALTER TABLE ${quote(table)} FORCE ROW LEVEL SECURITY;
CREATE POLICY ${quote(`${table}_owner`.slice(0, 63))} ON ${quote(table)}
  USING (${isOwner}) WITH CHECK (${isOwner});
CREATE POLICY ${quote(`${table}_admin`.slice(0, 63))} ON ${quote(table)}
  USING (${isAdmin}) WITH CHECK (${isAdmin});`
}

/** A name that cannot end the list or the text it stands in. */
function requireRoleName(role: string): string {
  if (!/^[A-Za-z0-9_:.-]{1,64}$/.test(role)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'a role',
      'must be letters, digits and _:.-',
    )
  }
  return role
}

/** What {@link withPrincipal} takes beside who is asking. */
export interface WithPrincipalOptions {
  /** The key of `parapet_seal` and `parapet_open` in this transaction. @default none: they refuse */
  readonly fieldKey?: string
}

/**
 * Runs `work` in one transaction in which the policies of {@link TableSql.migration} know who is asking.
 * The settings end with the transaction, so that no pooled connection carries them on.
 *
 * @param principal `null` sees no row that has an owner.
 */
export async function withPrincipal<T>(
  sql: SqlClient,
  principal: Pick<Principal, 'id' | 'roles'> | null,
  work: (transaction: SqlTransaction) => Promise<T>,
  { fieldKey = '' }: WithPrincipalOptions = {},
): Promise<T> {
  const roles = (principal?.roles ?? []).map(requireRoleName).join(',')
  return sql.transaction(async (transaction) => {
    await transaction.query(
      `SELECT set_config('app.current_user_id', $1, true), set_config('app.user_role', $2, true),
         set_config('app.field_key', $3, true) IS NULL`,
      [principal?.id ?? '', roles, fieldKey],
    )
    return work(transaction)
  })
}

interface SourceShape {
  readonly table: string
  readonly columns: ReadonlyMap<string, SchemaNode>
  readonly ids: readonly string[]
  readonly tenant: { readonly column: string; readonly value: string } | undefined
  readonly principal: Pick<Principal, 'id' | 'roles'> | undefined
}

/** Rows that are hidden would count as none, and their keys as free. */
async function refuseHiddenRows(sql: SqlClient, table: string): Promise<void> {
  const text = 'SELECT row_security_active(to_regclass($1)) AS hides'
  const { rows } = await sql.query<{ hides: boolean | null }>(text, [quote(table)])
  if (rows[0]?.hides !== true) return
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    `the table "${table}"`,
    'is under row-level security: give rowSource a principal who sees every row',
  )
}

function createRowSource(sql: SqlClient, shape: SourceShape): RowSource {
  const { table, columns, ids, tenant, principal } = shape
  const ask = async (text: string, values: readonly unknown[]): Promise<readonly Row[]> => {
    if (principal === undefined) return (await sql.query<Row>(text, values)).rows
    return withPrincipal(sql, principal, async (tx) => (await tx.query<Row>(text, values)).rows)
  }
  const keys = ids.map(quote).join(', ')
  const written = [...columns].flatMap(([name, node]) => {
    if (node.kind !== 'leaf') return [{ name, json: true }]
    const indexes = [...node.field.indexes].flatMap(([index, shape]) => columnsOf(index, shape))
    return [name, ...indexes].map((each) => ({ name: each, json: false }))
  })
  const idColumns = ids.map((name) => `${quote(name)}::text AS ${quote(name)}`)
  const selection = [...idColumns, ...written.map(({ name }) => quote(name))]
  if (tenant !== undefined && !ids.includes(tenant.column)) selection.push(quote(tenant.column))
  return {
    cursorOf: (row) => JSON.stringify(ids.map((name) => row[name])),
    async read(cursor, limit) {
      const values: unknown[] = [limit]
      const conditions: string[] = []
      if (tenant !== undefined) {
        conditions.push(`${quote(tenant.column)} = $${values.push(tenant.value)}`)
      }
      if (cursor !== null) {
        const after = JSON.parse(cursor) as string[]
        const marks = ids.map((_, index) => `$${values.push(after[index])}`)
        conditions.push(`(${keys}) > (${marks.join(', ')})`)
      }
      const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
      const text = `SELECT ${selection.join(', ')} FROM ${quote(table)} ${where} ORDER BY ${keys} LIMIT $1`
      if (principal === undefined) await refuseHiddenRows(sql, table)
      return ask(text, values)
    },
    async write(before, after) {
      const values: unknown[] = ids.map((name) => before[name])
      const found = ids.map((name, index) => `${quote(name)} = $${index + 1}`)
      const set: string[] = []
      for (const { name, json } of written) {
        const cast = json ? '::jsonb' : ''
        set.push(`${quote(name)} = $${values.push(cell(after[name], json))}${cast}`)
        const seen = `$${values.push(cell(before[name], json))}${cast}`
        found.push(`${quote(name)} IS NOT DISTINCT FROM ${seen}`)
      }
      const text = `UPDATE ${quote(table)} SET ${set.join(', ')} WHERE ${found.join(' AND ')} RETURNING 1`
      return (await ask(text, values)).length === 1
    },
  }
}

/** A cell as a parameter; drivers would make an array of SQL out of one of JSON. */
function cell(value: unknown, json: boolean): unknown {
  return json && value !== null && value !== undefined ? JSON.stringify(value) : (value ?? null)
}
