/** Keeps at least one administrator: without one, nobody could give the role to anybody. */
import type { SqlQueryable } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_REFERENCE_LAST_ADMIN } from '../errors.ts'
import { readAccountStatus } from './accounts.ts'

/**
 * Locks all administrators until the transaction ends, so that two of them cannot remove each other
 * at the same time. An administrator without a password does not count: nobody can log in as it.
 *
 * @param sql a transaction, in which the caller then removes the user or the role.
 * @param id the user who is about to lose the role.
 * @throws PARAPET_REFERENCE_LAST_ADMIN
 */
export async function requireOtherAdmin(sql: SqlQueryable, id: string): Promise<void> {
  // In one order, so that two transactions cannot wait for each other.
  const { rows } = await sql.query<{ id: string }>(
    `SELECT id::text AS id FROM users WHERE 'admin' = ANY (roles) AND password_hash IS NOT NULL
     ORDER BY users.id FOR UPDATE`,
  )
  if (rows.length === 1 && rows[0]!.id === id) throw new PARAPET_REFERENCE_LAST_ADMIN()
}

/**
 * Unlocks an account that was locked just now, if no other administrator could log in: two of them may have locked
 * each other at the same time.
 *
 * @throws PARAPET_REFERENCE_LAST_ADMIN
 */
export async function requireOtherLogin(app: FastifyInstance, locked: string): Promise<void> {
  const { rows } = await app.sql.query<{ id: string }>(
    `SELECT id::text AS id FROM users WHERE 'admin' = ANY (roles) AND password_hash IS NOT NULL`,
  )
  if (!rows.some(({ id }) => id === locked)) return
  for (const { id } of rows) {
    if ((await readAccountStatus(app.sessions, id))?.locked === null) return
  }
  await app.sessions.unlockAccount(locked, { reason: 'no administrator could log in' })
  throw new PARAPET_REFERENCE_LAST_ADMIN()
}
