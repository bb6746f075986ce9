/** Deletes accounts whose address was never verified, so that sign-ups of others do not stay for ever. */
import type { SqlQueryable } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'

const JOB = 'users.purge_unverified'
const HOUR_MS = 3_600_000
/** After the last sign-up with the address; a link to verify it works for a day, and can be sent again. */
const UNVERIFIED_DAYS = 7
/** At once, so that no transaction becomes long. */
const BATCH = 100

/** Somebody may have given content to an account that was never used. */
const DELETE = `
  DELETE FROM users WHERE id IN (
    SELECT id FROM users
     WHERE email_verified_at IS NULL AND updated_at < now() - $1 * interval '1 day'
       AND NOT EXISTS (SELECT FROM content WHERE author_id = users.id)
     LIMIT $2 FOR UPDATE SKIP LOCKED)
  RETURNING id::text AS id`

/** @returns how many accounts were deleted. */
export async function purgeUnverified(app: FastifyInstance): Promise<number> {
  let count = 0
  for (;;) {
    const ids = await deleteBatch(app.sql)
    for (const id of ids) {
      await app.sessions.forgetUser(id)
      await app.mfa.forget(id)
      await app.audit.record('user.purge', { resource: 'user', resourceId: id })
    }
    count += ids.length
    if (ids.length < BATCH) return count
  }
}

async function deleteBatch(sql: SqlQueryable): Promise<string[]> {
  const { rows } = await sql.query<{ id: string }>(DELETE, [UNVERIFIED_DAYS, BATCH])
  return rows.map(({ id }) => id)
}

/** Purges once an hour, on one instance. */
export function schedulePurge(app: FastifyInstance): void {
  app.jobs.define(JOB, async () => {
    const accounts = await purgeUnverified(app)
    if (accounts > 0) app.log.info({ accounts }, 'deleted accounts that nobody verified')
  })
  app.addHook('onReady', () => app.jobs.every(JOB, HOUR_MS))
}
