/** Who logs in: the users that have a password. What they may do is not decided here. */
import type { SqlClient } from '@parapet/kit'
import {
  createPasswordCheck,
  generateKey,
  generateSecret,
  hashPassword,
  verifyPassword,
  type SessionsOptions,
  type SessionUser,
} from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'

interface AccountRow {
  readonly id: string
  readonly roles: string[]
  readonly passwordHash: string | null
}

/** The accounts behind the logins. */
export interface Accounts {
  /** A user as of now; `null` when there is none any more. */
  findUser(id: string): Promise<SessionUser | null>
  /** Gives a user the password to log in with. */
  setPassword(id: string, password: string): Promise<void>
  /** Replaces the password. @returns whether `current` was it. */
  changePassword(id: string, current: string, next: string): Promise<boolean>
}

/** Makes the accounts over the table of users. */
export function createAccounts(sql: SqlClient): Accounts {
  return {
    async findUser(id) {
      const row = await findRow(sql, 'id::text = $1', id)
      return row === null ? null : { id: row.id, roles: row.roles }
    },
    async setPassword(id, password) {
      const text = 'UPDATE users SET password_hash = $2 WHERE id = $1'
      await sql.query(text, [id, await hashPassword(password)])
    },
    async changePassword(id, current, next) {
      const hash = (await findRow(sql, 'id::text = $1', id))?.passwordHash ?? null
      if (hash === null || !(await verifyPassword(hash, current))) return false
      // Of two changes at once the second finds another password than it was told.
      const text = 'UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2'
      const { rowCount } = await sql.query(text, [id, hash, await hashPassword(next)])
      return rowCount === 1
    },
  }
}

/** The options of the sessions plugin in this service. */
export function createSessionsOptions(app: FastifyInstance, config: Config): SessionsOptions {
  const { signingKey, signingKeyPassphrase, sessionSecret, publicUrl } = config
  if (signingKey === undefined || sessionSecret === undefined) {
    app.log.warn('SIGNING_KEY or SESSION_SECRET is not set: logins end with this process')
  }
  const passphrase = signingKeyPassphrase
  const current =
    signingKey === undefined ? generateKey(generateSecret()) : { pem: signingKey, passphrase }
  return {
    issuer: publicUrl,
    audience: publicUrl,
    keys: { current },
    secrets: [sessionSecret ?? generateSecret()],
    store: app.store,
    sql: app.sql,
    findUser: (id) => createAccounts(app.sql).findUser(id),
    prefix: '/auth',
    credentials: createPasswordCheck({
      async findAccount(login) {
        const row = await findRow(app.sql, 'lower(email COLLATE "C") = lower($1)', login)
        if (row === null || row.passwordHash === null) return null
        return { user: { id: row.id, roles: row.roles }, passwordHash: row.passwordHash }
      },
    }),
    // Who may do what is the matter of the authorization phase, not of the login.
    requireByDefault: false,
  }
}

async function findRow(sql: SqlClient, where: string, value: string): Promise<AccountRow | null> {
  const { rows } = await sql.query<AccountRow>(
    `SELECT id::text AS id, roles, password_hash AS "passwordHash" FROM users WHERE ${where}`,
    [value],
  )
  return rows[0] ?? null
}
