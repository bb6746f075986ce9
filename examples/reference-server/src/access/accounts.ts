/** Login accounts: the roles and the password hash of each user. */
import type { SqlClient } from '@parapet/kit'
import {
  hashPassword,
  verifyPassword,
  type PasswordAccount,
  type SessionUser,
} from '@parapet/sessions'

interface AccountRow {
  readonly id: string
  readonly email: string
  readonly roles: string[]
  readonly passwordHash: string | null
}

/** Reads and changes login accounts. */
export interface Accounts {
  /** Reads a user's current roles; `null`: no such user. */
  findUser(id: string): Promise<SessionUser | null>
  /** Finds the account of an e-mail address; `null`: no such user, or one without a password. */
  findByLogin(login: string): Promise<PasswordAccount | null>
  /** Reads a user's e-mail address; `null`: no such user. */
  findEmail(id: string): Promise<string | null>
  /** Whether this is the current password of a user. */
  hasPassword(id: string, password: string): Promise<boolean>
  /** Replaces the password. @returns `false`: `current` is wrong, and nothing was changed. */
  changePassword(id: string, current: string, next: string): Promise<boolean>
}

/** Creates the accounts over the table of users. */
export function createAccounts(sql: SqlClient): Accounts {
  return {
    async findUser(id) {
      const row = await findRow(sql, 'id::text = $1', id)
      return row === null ? null : { id: row.id, roles: row.roles }
    },
    async findByLogin(login) {
      // Under the collation of the index. In a Turkish locale, for instance, the lower case of I is ı.
      const sameEmail = 'lower(email COLLATE "C") = lower($1::text COLLATE "C")'
      const row = await findRow(sql, sameEmail, login)
      if (row === null || row.passwordHash === null) return null
      return { user: { id: row.id, roles: row.roles }, passwordHash: row.passwordHash }
    },
    async findEmail(id) {
      return (await findRow(sql, 'id::text = $1', id))?.email ?? null
    },
    async hasPassword(id, password) {
      return (await findHash(sql, id, password)) !== null
    },
    async changePassword(id, current, next) {
      const hash = await findHash(sql, id, current)
      if (hash === null) return false
      // Comparing the old hash makes the second of two concurrent changes fail.
      const text = 'UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2'
      const { rowCount } = await sql.query(text, [id, hash, await hashPassword(next)])
      return rowCount === 1
    },
  }
}

/** @returns the stored hash of the password; `null`: the user has another password or none. */
async function findHash(sql: SqlClient, id: string, password: string): Promise<string | null> {
  const hash = (await findRow(sql, 'id::text = $1', id))?.passwordHash ?? null
  return hash !== null && (await verifyPassword(hash, password)) ? hash : null
}

async function findRow(sql: SqlClient, where: string, value: string): Promise<AccountRow | null> {
  const { rows } = await sql.query<AccountRow>(
    `SELECT id::text AS id, email, roles, password_hash AS "passwordHash" FROM users WHERE ${where}`,
    [value],
  )
  return rows[0] ?? null
}
