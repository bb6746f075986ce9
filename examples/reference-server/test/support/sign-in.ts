/** Starts sessions without a password, for tests that are not about the login. */
import { uuidV7 } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Role } from '../../src/access/policy.ts'

/**
 * Starts a session for a user with one role.
 *
 * @param id @default the id of a user without a row
 * @returns the headers that authenticate a request.
 */
export async function signIn(
  app: FastifyInstance,
  role: Role,
  id = uuidV7(),
): Promise<{ readonly authorization: string }> {
  const { accessToken } = await app.sessions.start({ id, roles: [role] })
  return { authorization: `Bearer ${accessToken}` }
}
