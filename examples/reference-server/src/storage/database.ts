/** The SQL database at `app.sql`: PostgreSQL if `DATABASE_URL` is set, otherwise PGlite on disk. */
import { join } from 'node:path'
import {
  createSqlClient,
  lockFolder,
  migrate,
  PARAPET_KIT_FOLDER_IN_USE,
  type SqlClient,
} from '@parapet/kit'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Pool } from 'pg'
import { PARAPET_REFERENCE_DATA_IN_USE } from '../errors.ts'
import { migrations } from './migrations.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sql: SqlClient
  }
}

/** The options of the plugin. */
export interface DatabaseOptions {
  readonly databaseUrl: string | undefined
  readonly dataDir: string
  /** A database that is already open; the caller closes it. */
  readonly sql?: SqlClient | undefined
}

interface OpenDatabase {
  readonly sql: SqlClient
  readonly close: () => Promise<void>
}

async function databasePlugin(app: FastifyInstance, options: DatabaseOptions): Promise<void> {
  const { sql, close } = await open(options, app.log)
  app.decorate('sql', sql)
  // Fastify stops the HTTP server before it runs onClose hooks, so no request needs the database.
  app.addHook('onClose', close)
  const { applied } = await migrate(sql, '@parapet/reference-server', migrations)
  if (applied.length > 0) app.log.info({ applied }, 'applied database migrations')
}

function open(
  { sql, databaseUrl, dataDir }: DatabaseOptions,
  log: FastifyBaseLogger,
): OpenDatabase | Promise<OpenDatabase> {
  if (sql !== undefined) return { sql, close: async () => {} }
  return databaseUrl === undefined ? openEmbedded(dataDir) : openServer(databaseUrl, log)
}

async function openEmbedded(dataDir: string): Promise<OpenDatabase> {
  const unlock = await ownFolder(dataDir)
  try {
    // Imported only when it is needed: PGlite is a whole PostgreSQL and loads slowly.
    const { PGlite } = await import('@electric-sql/pglite')
    const db = await PGlite.create(join(dataDir, 'pglite'))
    const close = async () => {
      try {
        await db.close()
      } finally {
        await unlock()
      }
    }
    return { sql: createSqlClient(db), close }
  } catch (error) {
    await unlock()
    throw error
  }
}

/** Two processes with one embedded database would damage it, so the folder is locked first. */
async function ownFolder(folder: string): Promise<() => Promise<void>> {
  try {
    return await lockFolder(folder)
  } catch (error) {
    if (!(error instanceof PARAPET_KIT_FOLDER_IN_USE)) throw error
    throw new PARAPET_REFERENCE_DATA_IN_USE(error.message)
  }
}

function openServer(connectionString: string, log: FastifyBaseLogger): OpenDatabase {
  const pool = new Pool({
    connectionString,
    application_name: 'parapet-reference-server',
    max: 10,
    // Waiting for a free connection and running a statement are each limited to less than the
    // handler timeout, so that the client gets a response instead of a closed connection.
    connectionTimeoutMillis: 5000,
    statement_timeout: 10_000,
    idle_in_transaction_session_timeout: 10_000,
  })
  pool.on('error', (error) => log.warn({ err: error }, 'an idle database connection failed'))
  return { sql: createSqlClient(pool), close: () => pool.end() }
}

/** Opens the database, runs the migrations and decorates `app.sql`. */
export const database = fp(databasePlugin, { name: 'database', fastify: '5.x' })
