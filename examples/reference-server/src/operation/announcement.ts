/** Logs at the start where to look: routes, the first password, what is embedded, the audit key. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { passwordFile } from '../access/local-passwords.ts'
import type { Config } from '../config/environment.ts'
import { embeddedAuditDir } from '../config/saved-keys.ts'

/** Logs one line for each fact. No line contains a secret, only the names of files. */
export async function announce(app: FastifyInstance, config: Config): Promise<void> {
  const { databaseUrl, redisUrl, dataDir } = config
  const auditDir =
    config.auditDir ?? (databaseUrl === undefined ? embeddedAuditDir(config) : undefined)
  const url = app.listeningOrigin
  const open = app.rbac.matrix().rows.filter(({ anonymous }) => anonymous === 'allow')
  const routes = open
    .filter(({ method }) => method !== 'HEAD')
    .map((row) => `${row.method} ${row.url}`)
  app.log.info({ openRoutes: routes }, `all routes: ${url}/openapi.json`)

  const file = passwordFile(dataDir, 'admin')
  if (databaseUrl === undefined && (await exists(file))) {
    app.log.info(`password of the first administrator, admin@server.localhost: ${file}`)
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
