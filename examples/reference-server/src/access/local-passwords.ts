/**
 * The first passwords on an embedded database: in files that only this operating system user can read, until each
 * password was used.
 */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hashPassword } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import { readAccountStatus } from './accounts.ts'
import { roles, type Role } from './policy.ts'

/** The login of a user that the server creates by itself. It is not a real mailbox. */
export function localEmail(role: Role): string {
  return `${role}@server.localhost`
}

/** The file in the data folder. Someone who can read the database beside it needs no password. */
export function passwordFile(dataDir: string, role: Role): string {
  return join(dataDir, `${role}-password`)
}

/** Generates a password and writes it to the file of the role. */
export async function savePassword(dataDir: string, role: Role): Promise<string> {
  const file = passwordFile(dataDir, role)
  const password = randomBytes(24).toString('base64url')
  await rm(file, { force: true })
  await writeFile(file, `${password}\n`, { flag: 'wx', mode: 0o600 })
  return password
}

/** Reads the password of a role; `undefined`: it has no file. */
export async function readPassword(dataDir: string, role: Role): Promise<string | undefined> {
  try {
    return (await readFile(passwordFile(dataDir, role), 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** What shows that the user does not need the first password any more. */
const REPLACED = ['sessions.password_changed', 'sessions.password_reset'] as const

/** Of a reset that this file has required, also in the log. */
const REASON = 'the first password logs in once'

interface LocalUser {
  readonly id: string
  readonly role: Role
}

/**
 * Deletes the file of a first password as soon as its user has logged in, or has set another one.
 *
 * That of the administrator logs in once: in the session that it starts, the administrator sets an own one. If it was not
 * replaced, the next start writes a new one, because no message reaches this user, and someone who can read the data
 * folder owns the service anyway. The users of the demo keep theirs: they belong to nobody.
 *
 * @see OWASP ASVS 5.0, 6.4.1
 */
export async function retireFirstPasswords(app: FastifyInstance, dataDir: string): Promise<void> {
  const users = await findLocalUsers(app)
  await renewUsedPasswords(app, dataDir, users)
  const unused = new Map<string, Role>()
  for (const { id, role } of users) {
    if ((await readPassword(dataDir, role)) !== undefined) unused.set(id, role)
  }
  // Synchronous, because it happens once and must not be forgotten when the process ends.
  const forget = (id: string): void => {
    const role = unused.get(id)
    if (role === undefined || !unused.delete(id)) return
    rmSync(passwordFile(dataDir, role), { force: true })
  }
  for (const type of REPLACED) {
    app.securityEvents.on(type, ({ principalId = '' }) => forget(principalId))
  }
  app.securityEvents.on('sessions.login_succeeded', ({ principalId = '', sessionId = '' }) => {
    if (!unused.has(principalId)) return
    if (unused.get(principalId) !== 'admin') return forget(principalId)
    app.sessions
      .requirePasswordReset(principalId, { reason: REASON, exceptSessionId: sessionId })
      // Only now: otherwise an end of the process in between would leave the password for ever.
      .then(() => forget(principalId))
      .catch((error: unknown) => app.log.error({ err: error }, 'a first password was not retired'))
  })
}

async function findLocalUsers({ sql }: FastifyInstance): Promise<readonly LocalUser[]> {
  const { rows } = await sql.query<{ id: string; email: string }>(
    'SELECT id::text AS id, email FROM users WHERE email = ANY ($1)',
    [roles.map(localEmail)],
  )
  return rows.map(({ id, email }) => {
    return { id, role: roles.find((role) => localEmail(role) === email)! }
  })
}

async function renewUsedPasswords(
  { sessions, sql, log }: FastifyInstance,
  dataDir: string,
  users: readonly LocalUser[],
): Promise<void> {
  for (const { id, role } of users) {
    if (role !== 'admin') continue
    // A record that cannot be read must not stop the start.
    if ((await readAccountStatus(sessions, id))?.passwordResetRequired !== true) continue
    const hash = await hashPassword(await savePassword(dataDir, role))
    await sql.query('UPDATE users SET password_hash = $2 WHERE id::text = $1', [id, hash])
    await sessions.liftPasswordReset(id, {
      reason: 'a new first password was written at the start',
    })
    const see = passwordFile(dataDir, role)
    log.warn(
      { login: localEmail(role), see },
      'wrote a new first password: nobody replaced the last',
    )
  }
}
