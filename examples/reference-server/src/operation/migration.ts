/**
 * The job before a release: changes the tables, and grants the server its rights. The server may run as a
 * role that may not change tables; this process has the role that may.
 */
import { readFileSync } from 'node:fs'
import type { SqlClient } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { buildApp } from '../app.ts'
import type { Config } from '../config/environment.ts'

const GRANTS = new URL('../../deploy/postgresql/grants.sql', import.meta.url)

/** Every plugin brings its own tables up to date when it registers. Running servers may go on. */
export async function migrateDatabase(config: Config, log: FastifyBaseLogger): Promise<void> {
  const app = await buildApp(config, { log })
  try {
    if (await hasRoles(app.sql)) {
      await app.sql.transaction((transaction) => transaction.script(readFileSync(GRANTS, 'utf8')))
      log.info('the database is up to date, and the rights are granted')
    } else {
      log.warn(
        'the database is up to date. No rights are granted, because the role parapet_app does not exist: ' +
          'run deploy/postgresql/roles.sql to serve with a role that cannot change tables.',
      )
    }
  } finally {
    await app.close()
  }
}

async function hasRoles(sql: SqlClient): Promise<boolean> {
  const { rows } = await sql.query("SELECT 1 FROM pg_roles WHERE rolname = 'parapet_app'")
  return rows.length > 0
}
