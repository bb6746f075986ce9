/** Creates the first administrator. Only someone who controls the machine can determine who it is. */
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { uuidV7, type SqlClient } from '@parapet/kit'
import { hashPassword } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { PARAPET_REFERENCE_EMAIL_TAKEN } from '../errors.ts'

/** The login of the administrator that the environment does not name. It is not a real mailbox. */
const LOCAL_EMAIL = 'admin@server.localhost'
/** In the data folder. Someone who can read the database beside it needs no password. */
const PASSWORD_FILE = 'admin-password'

/**
 * Creates an administrator if there is none: with `ADMIN_EMAIL` and `ADMIN_PASSWORD`, or, on the
 * embedded database, with a random password in a file that only this operating system user can read.
 * While there is an administrator, both variables are ignored.
 *
 * @param embedded whether the database belongs to this process alone.
 * @throws PARAPET_REFERENCE_EMAIL_TAKEN a user has already registered with the address.
 */
export async function createFirstAdmin(
  app: FastifyInstance,
  config: Config,
  embedded: boolean,
): Promise<void> {
  const created = await app.sql.transaction(async (sql) => {
    if (await hasAdmin(sql)) return undefined
    // If several instances start at once, one creates the administrator and the others wait for it.
    await sql.query('LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE')
    if (await hasAdmin(sql)) return undefined
    return insertAdmin(sql, config, embedded)
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
  const file = join(dataDir, PASSWORD_FILE)
  const password = randomBytes(24).toString('base64url')
  // Written before the row, so that a crash cannot leave an administrator with an unknown password.
  await rm(file, { force: true })
  await writeFile(file, `${password}\n`, { flag: 'wx', mode: 0o600 })
  return { id: await insertUser(sql, LOCAL_EMAIL, password), login: LOCAL_EMAIL, passwordIn: file }
}

async function insertUser(sql: Query, email: string, password: string): Promise<string> {
  const id = uuidV7()
  const { rows } = await sql.query(
    `INSERT INTO users (id, email, display_name, password_hash, roles)
     VALUES ($1, $2, 'Administrator', $3, '{admin}')
     ON CONFLICT DO NOTHING RETURNING id`,
    [id, email, await hashPassword(password)],
  )
  // An existing user is never promoted: anybody may have registered with the address.
  if (rows.length === 0) throw new PARAPET_REFERENCE_EMAIL_TAKEN()
  return id
}
