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
import { withAvailability } from './availability.ts'
import { createSwappablePool } from './swappable-pool.ts'
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
  /** How long PostgreSQL may take for a connection, and for each statement. @default 7000 */
  readonly deadlineMs?: number
  /** Whether the secret `DATABASE_URL` may change. */
  readonly isUrlFollowed?: boolean
}

interface OpenDatabase {
  readonly sql: SqlClient
  /** Replaces the address of PostgreSQL. */
  readonly swap?: (databaseUrl: string) => Promise<void>
  readonly close: () => Promise<void>
}

async function databasePlugin(app: FastifyInstance, options: DatabaseOptions): Promise<void> {
  const { sql: source, close, swap } = await open(options, app.log)
  if (options.isUrlFollowed === true && swap !== undefined) {
    app.secrets.onRotate('DATABASE_URL', ({ next }) => next.use(swap))
  }
  const sql = withAvailability(source)
  app.decorate('sql', sql)
  // Fastify stops the HTTP server before it runs onClose hooks, so no request needs the database.
  app.addHook('onClose', close)
  const { applied } = await migrate(sql, '@parapet/reference-server', migrations)
  if (applied.length > 0) app.log.info({ applied }, 'applied database migrations')
}

function open(
  { sql, databaseUrl, dataDir, deadlineMs = 7000 }: DatabaseOptions,
  log: FastifyBaseLogger,
): OpenDatabase | Promise<OpenDatabase> {
  if (sql !== undefined) return { sql, close: async () => {} }
  return databaseUrl === undefined
    ? openEmbedded(dataDir)
    : openServer(databaseUrl, deadlineMs, log)
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

function openServer(databaseUrl: string, deadlineMs: number, log: FastifyBaseLogger): OpenDatabase {
  const pool = createSwappablePool(
    databaseUrl,
    (connectionString) => openPool(connectionString, deadlineMs, log),
    (error) => log.warn({ err: error }, 'a former database pool could not be closed'),
  )
  return {
    sql: createSqlClient(pool),
    swap: (url) => pool.swap(url),
    close: () => pool.end(),
  }
}

function openPool(connectionString: string, deadlineMs: number, log: FastifyBaseLogger): Pool {
  const pool = new Pool({
    connectionString,
    application_name: 'parapet-reference-server',
    max: 10,
    // A connection, a statement and its rollback together take less than the handler timeout, so that
    // the client gets a response instead of a closed connection.
    connectionTimeoutMillis: deadlineMs,
    statement_timeout: deadlineMs,
    // PostgreSQL itself may hang, or the network lose every packet.
    query_timeout: deadlineMs + 1000,
    idle_in_transaction_session_timeout: 10_000,
  })
  pool.on('error', (error) => log.warn({ err: error }, 'an idle database connection failed'))
  return pool
}

/** Opens the database, runs the migrations and decorates `app.sql`. */
export const database = fp(databasePlugin, { name: 'database', fastify: '5.x' })

/**
 * Checks that the database can write, without changing a row. Statements that fit into allocated
 * pages succeed on a full disk, so a sort is made to write a temporary file.
 *
 * @param deadlineMs ends the statements of a check that nobody waits for any more.
 * @throws PARAPET_REFERENCE_DATABASE_UNAVAILABLE it is away, read-only, or its disk is full.
 */
export async function checkWriting(sql: SqlClient, deadlineMs: number): Promise<void> {
  await sql.transaction(async (transaction) => {
    await transaction.script(
      `SET LOCAL statement_timeout = ${deadlineMs}; SET LOCAL work_mem = '64kB'`,
    )
    // PostgreSQL refuses it where it refuses every change: on a standby and in read-only mode.
    await transaction.query('UPDATE users SET version = version WHERE false')
    await transaction.query(
      `SELECT count(*) FROM (
         SELECT repeat('x', 8000) || n AS line FROM generate_series(1, 16) AS n ORDER BY line OFFSET 0
       ) AS sorted`,
    )
  })
}
