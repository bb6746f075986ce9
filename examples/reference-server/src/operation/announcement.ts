/** Logs at the start where to look: routes, the first password, what is embedded, the audit key. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'

/** Written by `access/first-admin.ts` on the embedded database. */
const PASSWORD_FILE = 'admin-password'

/** Logs one line for each fact. No line contains a secret, only the names of files. */
export async function announce(app: FastifyInstance, config: Config): Promise<void> {
  const { databaseUrl, redisUrl, dataDir, auditDir } = config
  const url = app.listeningOrigin
  const open = app.rbac.matrix().rows.filter(({ anonymous }) => anonymous === 'allow')
  const routes = open
    .filter(({ method }) => method !== 'HEAD')
    .map((row) => `${row.method} ${row.url}`)
  app.log.info({ openRoutes: routes }, `all routes: ${url}/openapi.json`)

  const passwordFile = join(dataDir, PASSWORD_FILE)
  if (databaseUrl === undefined && (await exists(passwordFile))) {
    app.log.info(`password of the first administrator, admin@server.localhost: ${passwordFile}`)
  }
  const database = join(dataDir, 'pglite')
  app.log.info(
    databaseUrl === undefined
      ? `database: embedded, in ${database}. Set DATABASE_URL for PostgreSQL.`
      : 'database: PostgreSQL, by DATABASE_URL',
  )
  app.log.info(
    redisUrl === undefined
      ? 'shared state: embedded, in memory; it is lost on restart. Set REDIS_URL for Redis.'
      : 'shared state: Redis, by REDIS_URL',
  )
  app.log.info(
    { verifierKey: app.audit.verifierKey },
    `audit log: ${auditDir === undefined ? 'in a temporary folder' : `spool in ${auditDir}`}; ` +
      `its records are in the ${auditDir === undefined ? 'folder' : 'database'}. ` +
      `Verify them with the key ${app.audit.verifierKey}`,
  )
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
