/** Creates the first administrator. Only someone who controls the machine can determine who it is. */
import { uuidV7, type SqlClient, type SqlTransaction } from '@parapet/kit'
import { hashPassword } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { PARAPET_REFERENCE_EMAIL_TAKEN } from '../errors.ts'
import { localEmail, passwordFile, savePassword } from './local-passwords.ts'

/** The login of the administrator that the environment does not name. It is not a real mailbox. */
const LOCAL_EMAIL = localEmail('admin')

/**
 * Creates an administrator if there is none: with `ADMIN_EMAIL` and `ADMIN_PASSWORD`, or, on the
 * embedded database, with a random password in a file that only this operating system user can read.
 * While there is an administrator, both variables are ignored.
 *
 * @param embedded whether the database belongs to this process alone.
 * @param also what belongs to the same start: either both are there, or none.
 * @returns whether it was created now.
 * @throws PARAPET_REFERENCE_EMAIL_TAKEN a user has already registered with the address.
 */
export async function createFirstAdmin(
  app: FastifyInstance,
  config: Config,
  embedded: boolean,
  also: (sql: SqlTransaction) => Promise<void>,
): Promise<boolean> {
  const created = await app.sql.transaction(async (sql) => {
    if (await hasAdmin(sql)) return undefined
    // If several instances start at once, one creates the administrator and the others wait for it.
    await sql.query('LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE')
    if (await hasAdmin(sql)) return undefined
    const inserted = await insertAdmin(sql, config, embedded)
    if (inserted !== null) await also(sql)
    return inserted
  })
  if (created === null) {
    app.log.warn('there is no administrator: set ADMIN_EMAIL and ADMIN_PASSWORD and start again')
  } else if (created !== undefined) {
    const { id, login, passwordIn } = created
    app.log.warn({ login, see: passwordIn }, 'created the first administrator')
    // The audit log records requests by itself, but there was no request.
    const changes = { before: {}, after: { roles: ['admin'] } }
    await app.audit.record('user.create', { resource: 'user', resourceId: id, changes })
  }
  return (created ?? null) !== null
}

type Query = Pick<SqlClient, 'query'>

async function hasAdmin(sql: Query): Promise<boolean> {
  const { rows } = await sql.query(`SELECT 1 FROM users WHERE 'admin' = ANY (roles) LIMIT 1`)
  return rows.length > 0
}

interface FirstAdmin {
  readonly id: string
  readonly login: string
  /** Where the operator finds the password. The log redacts members named like passwords. */
  readonly passwordIn: string
}

/** @returns `null` if the environment names no administrator and the database is not embedded. */
async function insertAdmin(
  sql: Query,
  { adminEmail, adminPassword, dataDir }: Config,
  embedded: boolean,
): Promise<FirstAdmin | null> {
  if (adminEmail !== undefined && adminPassword !== undefined) {
    const id = await insertUser(sql, adminEmail, adminPassword)
    return { id, login: adminEmail, passwordIn: 'ADMIN_PASSWORD, which can be unset now' }
  }
  if (!embedded) return null
  // Written before the row, so that a crash cannot leave an administrator with an unknown password.
  const password = await savePassword(dataDir, 'admin')
  return {
    id: await insertUser(sql, LOCAL_EMAIL, password),
    login: LOCAL_EMAIL,
    passwordIn: passwordFile(dataDir, 'admin'),
  }
}

async function insertUser(sql: Query, email: string, password: string): Promise<string> {
  const id = uuidV7()
  const { rows } = await sql.query(
    `INSERT INTO users (id, email, display_name, password_hash, roles, email_verified_at)
     VALUES ($1, $2, 'Administrator', $3, '{admin}', now())
     ON CONFLICT DO NOTHING RETURNING id`,
    [id, email, await hashPassword(password)],
  )
  // An existing user is never promoted: anybody may have registered with the address.
  if (rows.length === 0) throw new PARAPET_REFERENCE_EMAIL_TAKEN()
  return id
}
