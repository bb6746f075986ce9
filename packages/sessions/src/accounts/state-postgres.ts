/** Stores the states of accounts in PostgreSQL or PGlite, in the table of the migrations. */
import type { SqlClient } from '@parapet/kit'
import type { AccountStateRepository } from './account-state.ts'

const INSERT = `
  INSERT INTO sessions_accounts (user_id, state) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING`
const REPLACE = 'UPDATE sessions_accounts SET state = $3 WHERE user_id = $1 AND state = $2'
const REMOVE = 'DELETE FROM sessions_accounts WHERE user_id = $1 AND state = $2'

/** Creates the repository. */
export function createSqlStates(sql: SqlClient): AccountStateRepository {
  return {
    async load(userId) {
      const text = 'SELECT state FROM sessions_accounts WHERE user_id = $1'
      const { rows } = await sql.query<{ state: string }>(text, [userId])
      return rows[0]?.state ?? null
    },
    async list(after, limit) {
      const text = `SELECT user_id AS id FROM sessions_accounts WHERE $1::text IS NULL OR user_id > $1
        ORDER BY user_id LIMIT $2`
      const { rows } = await sql.query<{ id: string }>(text, [after, limit])
      return rows.map(({ id }) => id)
    },
    async save(userId, expected, next) {
      if (expected === null && next === null) return true
      if (expected === null) return (await sql.query(INSERT, [userId, next])).rowCount === 1
      if (next === null) return (await sql.query(REMOVE, [userId, expected])).rowCount === 1
      return (await sql.query(REPLACE, [userId, expected, next])).rowCount === 1
    },
  }
}
