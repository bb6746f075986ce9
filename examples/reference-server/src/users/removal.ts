/** Deletes a user with everything that belongs to the account. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { requireOtherAdmin } from '../access/administrators.ts'
import { readIfMatch } from '../http/etag.ts'
import { recordChange } from '../logging/record-change.ts'
import { asServer } from '../storage/row-security.ts'
import { createUsers, recorded } from './repository.ts'

/**
 * Deletes a user, revokes the sessions and deletes the second factors.
 *
 * @throws PARAPET_REFERENCE_LAST_ADMIN, PARAPET_REFERENCE_NOT_FOUND,
 *   PARAPET_REFERENCE_USER_HAS_CONTENT, PARAPET_REFERENCE_VERSION_MISMATCH
 */
export async function removeUser(
  app: FastifyInstance,
  id: string,
  request: FastifyRequest,
): Promise<void> {
  await recordChange<object>(app.sql, request, recorded('user.delete', id), async (sql) => {
    await requireOtherAdmin(sql, id)
    const table = createUsers(sql)
    const before = await table.lock(id)
    await table.remove(id, readIfMatch(request.headers['if-match']))
    const relations = `DELETE FROM rbac_relations WHERE subject_type = 'user' AND subject_id = $1`
    await asServer(sql, () => sql.query(relations, [id]))
    return { before, after: {} }
  })
  await app.sessions.forgetUser(id)
  await app.mfa.forget(id)
}
