/**
 * Row-level security: policies for the owner and an admin role, and the transaction settings that they
 * read.
 *
 * @see https://www.postgresql.org/docs/current/ddl-rowsecurity.html
 */
import type { Principal, SqlClient, SqlQueryable, SqlTransaction } from '@parapet/kit'
import { callOption, checkCall, isName } from '../call-options.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import { quoteBuiltName, quoteName } from './identifiers.ts'

const ROLE = /^[A-Za-z0-9_:.-]{1,64}$/

/** The statements that switch row-level security on. */
export function rowSecuritySql(table: string, owner: string, adminRole: string): string {
  requireRoleName(adminRole)
  const isAdmin = `'${adminRole}' = ANY (string_to_array(current_setting('app.user_role', true), ','))`
  const isOwner = `${quoteName(owner)}::text = nullif(current_setting('app.current_user_id', true), '')`
  return `
ALTER TABLE ${quoteName(table)} ENABLE ROW LEVEL SECURITY;
ALTER TABLE ${quoteName(table)} FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS ${quoteBuiltName(`${table}_owner`)} ON ${quoteName(table)};
CREATE POLICY ${quoteBuiltName(`${table}_owner`)} ON ${quoteName(table)}
  USING (${isOwner}) WITH CHECK (${isOwner});
DROP POLICY IF EXISTS ${quoteBuiltName(`${table}_admin`)} ON ${quoteName(table)};
CREATE POLICY ${quoteBuiltName(`${table}_admin`)} ON ${quoteName(table)}
  USING (${isAdmin}) WITH CHECK (${isAdmin});`
}

/** Refuses a role that could end the SQL literal or the comma-separated list that it is part of. */
function requireRoleName(role: string): string {
  if (!ROLE.test(role)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'a role name in SQL',
      `must match ${String(ROLE)}, got "${role}"`,
    )
  }
  return role
}

/** The options of {@link withPrincipal}. */
export interface WithPrincipalOptions {
  /** The key of `parapet_seal` and `parapet_open` in this transaction. @default none: they fail */
  readonly fieldKey?: string
}

/**
 * Runs `work` in one transaction in which the policies of `TableSql.migration` apply to this principal.
 * The settings end with the transaction, so a pooled connection does not keep them.
 *
 * @param principal `null` sees no row that has an owner.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT a role has other characters than letters, digits
 *   and `_:.-`.
 */
export async function withPrincipal<T>(
  sql: SqlClient,
  principal: Pick<Principal, 'id' | 'roles'> | null,
  work: (transaction: SqlTransaction) => Promise<T>,
  options: WithPrincipalOptions = {},
): Promise<T> {
  checkCall<WithPrincipalOptions>('withPrincipal', options, { fieldKey: callOption.text })
  const { fieldKey = '' } = options
  if (principal !== null && !isName(principal.id)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the id of the principal',
      'must be a string without NUL',
    )
  }
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

interface PolicyRow {
  readonly condition: string | null
  readonly permissive: boolean
  /** Whether the condition depends on the row. */
  readonly reads: boolean
}

/** The policies that decide which rows the current role reads. */
const POLICIES = `
  SELECT pg_get_expr(p.polqual, p.polrelid) AS condition, p.polpermissive AS permissive,
    EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid AND d.refobjsubid > 0) AS reads
  FROM pg_policy p WHERE p.polrelid = to_regclass($1) AND p.polcmd IN ('*', 'r') AND (0 = ANY (p.polroles)
    OR EXISTS (SELECT FROM unnest(p.polroles) AS role WHERE pg_has_role(role, 'USAGE')))`

/**
 * Refuses a table whose rows are partly hidden by row-level security: hidden rows would not be counted,
 * and their keys would be destroyed. All rows are visible if a policy allows it whatever the row, and no
 * restrictive policy depends on the row.
 *
 * @param sql in the transaction of the principal who reads.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export async function requireAllRows(sql: SqlQueryable, table: string): Promise<void> {
  const name = quoteName(table)
  const active = 'SELECT row_security_active(to_regclass($1)) AS hides'
  const { rows } = await sql.query<{ hides: boolean | null }>(active, [name])
  if (rows[0]?.hides !== true) return
  const policies = (await sql.query<PolicyRow>(POLICIES, [name])).rows
  const allows = await Promise.all(policies.map((policy) => allowsEveryRow(sql, policy)))
  const isAllowed = policies.some(({ permissive }, index) => permissive && allows[index])
  const isRestricted = policies.some(({ permissive }, index) => !permissive && !allows[index])
  if (isAllowed && !isRestricted) return
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    `rowSource of the table "${table}"`,
    'needs a principal who sees every row, because row-level security is active',
  )
}

async function allowsEveryRow(
  sql: SqlQueryable,
  { condition, reads }: PolicyRow,
): Promise<boolean> {
  if (condition === null || reads) return false
  const { rows } = await sql.query<{ ok: boolean }>(`SELECT (${condition}) IS TRUE AS ok`)
  return rows[0]?.ok === true
}
