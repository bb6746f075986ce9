/** A login without a password, for tests that are about something else. */
import { uuidV7 } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Role } from '../src/policy.ts'

/** @param id @default a user of whom there is no row. @returns the headers of a login. */
export async function signIn(
  app: FastifyInstance,
  role: Role,
  id = uuidV7(),
): Promise<{ readonly authorization: string }> {
  const { accessToken } = await app.sessions.start({ id, roles: [role] })
  return { authorization: `Bearer ${accessToken}` }
}
