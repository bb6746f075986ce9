/** The users of the first start: an administrator, and on an embedded database those of the demo. */
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { createDemo } from '../demo/create-demo.ts'
import { createFirstAdmin } from './first-admin.ts'
import { retireFirstPasswords } from './local-passwords.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether this start has created the first users. */
    readonly areUsersNew: boolean
  }
}

/**
 * Creates the users of the first start.
 *
 * @param embedded whether the database belongs to this process alone.
 * @throws PARAPET_REFERENCE_EMAIL_TAKEN
 */
export async function createFirstUsers(
  app: FastifyInstance,
  config: Config,
  embedded: boolean,
): Promise<void> {
  // Someone who names an administrator sets up a service of their own.
  const wantsDemo = config.demo && embedded && config.adminEmail === undefined
  const isFirst = await createFirstAdmin(app, config, embedded, async (sql) => {
    if (wantsDemo) await createDemo(app, sql, config.dataDir)
  })
  app.decorate('areUsersNew', isFirst)
  if (isFirst && wantsDemo) await app.audit.record('demo.create', { resource: 'demo' })
  if (embedded) await retireFirstPasswords(app, config.dataDir)
}
