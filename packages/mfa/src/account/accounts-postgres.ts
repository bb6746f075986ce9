/** Stores accounts in PostgreSQL or PGlite. */
import { migrate, type SqlClient, type SqlQueryable } from '@parapet/kit'
import { hashText } from '../tokens/hash-text.ts'
import type { AccountRepository } from './account-repository.ts'

/** The tables, for `migrate` of `@parapet/kit`. With the option `sql` the plugin runs them at boot. */
export const migrations = Object.freeze([
  {
    id: '0001_create_accounts',
    sql: `
      CREATE TABLE mfa_accounts (
        user_id    text        PRIMARY KEY,
        version    bigint      NOT NULL CHECK (version > 0),
        sealed     text        NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
      );
      CREATE TABLE mfa_credentials (
        credential_hash text PRIMARY KEY,
        user_id         text NOT NULL REFERENCES mfa_accounts ON DELETE CASCADE
      );
      CREATE INDEX mfa_credentials_by_user ON mfa_credentials (user_id);`,
  },
])

const INSERT = `
  INSERT INTO mfa_accounts (user_id, version, sealed) VALUES ($1, $2 + 1, $3)
  ON CONFLICT (user_id) DO NOTHING`
const UPDATE = `
  UPDATE mfa_accounts SET version = version + 1, sealed = $3, updated_at = now()
  WHERE user_id = $1 AND version = $2`

/** Stores accounts in the tables of {@link migrations}. */
export function createSqlAccounts(sql: SqlClient): AccountRepository {
  return {
    async load(userId) {
      const { rows } = await sql.query<{ version: number; sealed: string }>(
        'SELECT version::float8 AS version, sealed FROM mfa_accounts WHERE user_id = $1',
        [userId],
      )
      return rows[0] ?? null
    },
    async save(userId, expected, sealed, credentials) {
      const write = async (on: SqlQueryable): Promise<boolean> =>
        (await on.query(expected === 0 ? INSERT : UPDATE, [userId, expected, sealed])).rowCount ===
        1
      if (credentials === undefined) return write(sql).catch(falseOnConflict)
      return withRollback(sql, async (transaction) => {
        if (!(await write(transaction))) return false
        const { add, remove = [] } = credentials
        if (remove.length > 0) await deleteCredentials(transaction, remove)
        if (add === undefined) return true
        const { rowCount } = await transaction.query(
          `INSERT INTO mfa_credentials (credential_hash, user_id) VALUES ($1, $2)
           ON CONFLICT (credential_hash) DO NOTHING`,
          [hashText(add), userId],
        )
        return rowCount === 1
      })
    },
    async findByCredential(credentialId) {
      const { rows } = await sql.query<{ userId: string }>(
        'SELECT user_id AS "userId" FROM mfa_credentials WHERE credential_hash = $1',
        [hashText(credentialId)],
      )
      return rows[0]?.userId ?? null
    },
    async list(after, limit) {
      const { rows } = await sql.query<{ userId: string }>(
        `SELECT user_id AS "userId" FROM mfa_accounts
          WHERE $1::text IS NULL OR user_id > $1 ORDER BY user_id LIMIT $2`,
        [after, limit],
      )
      return rows.map(({ userId }) => userId)
    },
    async remove(userId) {
      await sql.query('DELETE FROM mfa_accounts WHERE user_id = $1', [userId])
    },
  }
}

/** Runs {@link migrations}. Every instance may call it at every start. */
export async function migrateAccounts(sql: SqlClient): Promise<void> {
  await migrate(sql, '@parapet/mfa', migrations)
}

async function deleteCredentials(
  on: SqlQueryable,
  credentialIds: readonly string[],
): Promise<void> {
  await on.query('DELETE FROM mfa_credentials WHERE credential_hash = ANY ($1)', [
    credentialIds.map(hashText),
  ])
}

/** Runs `work` in a transaction, and rolls back if it returns `false`. */
async function withRollback(
  sql: SqlClient,
  work: (transaction: SqlQueryable) => Promise<boolean>,
): Promise<boolean> {
  const rollback = new Error('rollback')
  try {
    return await sql.transaction(async (transaction) => {
      if (await work(transaction)) return true
      throw rollback
    })
  } catch (error) {
    return error === rollback ? false : falseOnConflict(error)
  }
}

/** Serialization failure and deadlock. @see PostgreSQL, appendix A */
const CONFLICTS = new Set<unknown>(['40001', '40P01'])

/** Above READ COMMITTED, PostgreSQL reports a lost race as an error instead of zero rows. */
function falseOnConflict(error: unknown): false {
  if (CONFLICTS.has((error as { code?: unknown }).code)) return false
  throw error
}
