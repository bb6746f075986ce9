/**
 * Row-level security of user data: on behalf of a user, PostgreSQL itself shows only that user's rows.
 *
 * @see https://www.postgresql.org/docs/current/ddl-rowsecurity.html
 */
import { withPrincipal } from '@parapet/field-encryption'
import type { Principal, SqlClient, SqlTransaction } from '@parapet/kit'

/**
 * The role of statements on behalf of a user. The owner of the tables, and a superuser, would bypass the
 * policies. The role may use the tables of the domain only: not those of plugins, such as second factors.
 */
const ROW_ROLE = 'parapet_rows'

/**
 * Runs `work` in a transaction in which PostgreSQL shows the rows of this principal only; administrators
 * see all rows. The role and the settings end with the transaction.
 *
 * @param principal `null` sees no row that belongs to a user.
 */
export function actingAs<T>(
  sql: SqlClient,
  principal: Pick<Principal, 'id' | 'roles'> | null,
  work: (transaction: SqlTransaction) => Promise<T>,
): Promise<T> {
  return withPrincipal(sql, principal, async (transaction) => {
    await transaction.query(`SELECT set_config('role', '${ROW_ROLE}', true)`)
    return work(transaction)
  })
}

/**
 * Runs statements as the server itself within {@link actingAs}: on the tables of plugins, or on a row that
 * the principal may name but not see. The rest of the transaction acts for the principal again.
 *
 * @param transaction that of `actingAs`.
 */
export async function asServer<T>(transaction: SqlTransaction, work: () => Promise<T>): Promise<T> {
  await transaction.query(`SELECT set_config('role', 'none', true)`)
  try {
    return await work()
  } finally {
    // It fails only in a transaction that has failed already, in which no statement runs any more.
    await transaction.query(`SELECT set_config('role', '${ROW_ROLE}', true)`).catch(() => {})
  }
}

/**
 * Statements that create the role, once for the whole cluster of databases. Where the role of this server
 * may not create roles, an administrator does it: `CREATE ROLE parapet_rows; GRANT parapet_rows TO server`.
 */
export const createRowRole = `
  DO $$
  BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${ROW_ROLE}') THEN
      CREATE ROLE ${ROW_ROLE} NOLOGIN;
    END IF;
  -- Another schema of the cluster may create it at the same moment.
  EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
  END $$;
  DO $$
  BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
      EXECUTE format('GRANT ${ROW_ROLE} TO %I', current_user);
    END IF;
  EXCEPTION WHEN unique_violation THEN NULL;
  END $$;
  DO $$
  BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO ${ROW_ROLE}', current_schema());
  END $$;`

/** Statements that let the role use a table without owners. */
export function openTable(table: string): string {
  return `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${ROW_ROLE};`
}

/**
 * Statements that show the rows of a table to their owner and to some roles. They are part of migrations
 * that have run: a change needs another migration.
 *
 * @param owner the column with the id of the owner.
 */
export function protectRows(
  table: string,
  owner: string,
  seeingAll: readonly string[] = ['admin'],
): string {
  const isOwner = `${owner}::text = nullif(current_setting('app.current_user_id', true), '')`
  const roles = seeingAll.map((role) => `'${role}'`).join(', ')
  const seesAll = `string_to_array(current_setting('app.user_role', true), ',') && ARRAY[${roles}]`
  const visible = `${isOwner} OR ${seesAll}`
  return `
  ${openTable(table)}
  ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY;
  CREATE POLICY ${table}_rows ON ${table} TO ${ROW_ROLE} USING (${visible}) WITH CHECK (${visible});`
}
