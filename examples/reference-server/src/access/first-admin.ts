/** The first administrator: whoever has the machine decides who it is, and nobody on the network. */
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { uuidV7, type SqlClient } from '@parapet/kit'
import { hashPassword } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { PARAPET_REFERENCE_EMAIL_TAKEN } from './errors.ts'

/** Who it is where the environment names nobody; the name reaches no mailbox. */
const LOCAL_EMAIL = 'admin@server.localhost'
/** In the data folder; beside the database, whose reader needs no password. */
const PASSWORD_FILE = 'admin-password'

/**
 * Makes an administrator where there is none: the one of `ADMIN_EMAIL` and `ADMIN_PASSWORD`, or, on
 * the embedded database, one whose password is written to a file that only this user can read.
 * While there is one, nothing is done and neither variable is looked at.
 *
 * @param embedded whether the database is this process's own.
 * @throws PARAPET_REFERENCE_EMAIL_TAKEN somebody registered with the address before.
 */
export async function makeFirstAdmin(
  app: FastifyInstance,
  config: Config,
  embedded: boolean,
): Promise<void> {
  const made = await app.sql.transaction(async (sql) => {
    if (await hasAdmin(sql)) return undefined
    // Of instances that start at once, one makes it and the others see it.
    await sql.query('LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE')
    if (await hasAdmin(sql)) return undefined
    return insertAdmin(sql, config, embedded)
  })
  if (made === null) {
    app.log.warn('there is no administrator: set ADMIN_EMAIL and ADMIN_PASSWORD and start again')
  } else if (made !== undefined) {
    const { id, ...told } = made
    app.log.warn(told, 'the first administrator is made')
    // No request made it, so no hook records it.
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
  /** Where its password is to be found. */
  readonly see: string
}

/** @returns `null` where nobody is named. */
async function insertAdmin(
  sql: Query,
  { adminEmail, adminPassword, dataDir }: Config,
  embedded: boolean,
): Promise<FirstAdmin | null> {
  if (adminEmail !== undefined && adminPassword !== undefined) {
    const id = await insertUser(sql, adminEmail, adminPassword)
    return { id, login: adminEmail, see: 'ADMIN_PASSWORD, which is not needed any more' }
  }
  if (!embedded) return null
  const file = join(dataDir, PASSWORD_FILE)
  const password = randomBytes(24).toString('base64url')
  // Written first: a crash in between leaves no administrator whose password nobody knows.
  await rm(file, { force: true })
  await writeFile(file, `${password}\n`, { flag: 'wx', mode: 0o600 })
  return { id: await insertUser(sql, LOCAL_EMAIL, password), login: LOCAL_EMAIL, see: file }
}

async function insertUser(sql: Query, email: string, password: string): Promise<string> {
  const id = uuidV7()
  const { rows } = await sql.query(
    `INSERT INTO users (id, email, display_name, password_hash, roles)
     VALUES ($1, $2, 'Administrator', $3, '{admin}')
     ON CONFLICT DO NOTHING RETURNING id`,
    [id, email, await hashPassword(password)],
  )
  // A stranger must not be promoted.
  if (rows.length === 0) throw new PARAPET_REFERENCE_EMAIL_TAKEN()
  return id
}
