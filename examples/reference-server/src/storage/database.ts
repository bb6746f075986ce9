/** The database at `app.sql`: PostgreSQL where DATABASE_URL says so, else PGlite on disk. */
import { join } from 'node:path'
import { createSqlClient, migrate, type SqlClient } from '@parapet/kit'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Pool } from 'pg'
import { lockFolder } from './data-lock.ts'
import { migrations } from './migrations.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sql: SqlClient
  }
}

/** What the plugin takes. */
export interface DatabaseOptions {
  readonly databaseUrl: string | undefined
  readonly dataDir: string
  /** A database that is open already; it stays its owner's to close. */
  readonly sql?: SqlClient | undefined
}

interface OpenDatabase {
  readonly sql: SqlClient
  readonly close: () => Promise<void>
}

async function databasePlugin(app: FastifyInstance, options: DatabaseOptions): Promise<void> {
  const { sql, close } = await open(options, app.log)
  app.decorate('sql', sql)
  // Fastify closes in the reverse order, the HTTP server first: no request is left that would ask.
  app.addHook('onClose', close)
  const { applied } = await migrate(sql, '@parapet/reference-server', migrations)
  if (applied.length > 0) app.log.info({ applied }, 'migrated')
}

function open(
  { sql, databaseUrl, dataDir }: DatabaseOptions,
  log: FastifyBaseLogger,
): OpenDatabase | Promise<OpenDatabase> {
  if (sql !== undefined) return { sql, close: async () => {} }
  return databaseUrl === undefined ? openEmbedded(dataDir) : openServer(databaseUrl, log)
}

async function openEmbedded(dataDir: string): Promise<OpenDatabase> {
  const unlock = await lockFolder(dataDir)
  // Loaded only here: it is a whole PostgreSQL.
  const { PGlite } = await import('@electric-sql/pglite')
  const db = await PGlite.create(join(dataDir, 'pglite'))
  return {
    sql: createSqlClient(db),
    close: async () => {
      await db.close()
      await unlock()
    },
  }
}

function openServer(connectionString: string, log: FastifyBaseLogger): OpenDatabase {
  const pool = new Pool({
    connectionString,
    application_name: 'parapet-reference-server',
    max: 10,
    // A request waits this long for a free connection, and a statement runs no longer: both less
    // than the handler's own limit, so that the client hears of it.
    connectionTimeoutMillis: 5000,
    statement_timeout: 10_000,
    idle_in_transaction_session_timeout: 10_000,
  })
  pool.on('error', (error) => log.warn({ err: error }, 'an idle database connection was lost'))
  return { sql: createSqlClient(pool), close: () => pool.end() }
}

/** Opens the database, brings its tables up to date and decorates `app.sql`. */
export const database = fp(databasePlugin, { name: 'database', fastify: '5.x' })
