/** PostgreSQL for tests: a schema on a running server, or a whole server for one test. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client, Pool } from 'pg'
import { findExecutable, findFreePort, ServerProcess } from './server-process.ts'
import { missService, type TestContext } from './test-context.ts'

/** A fresh schema on a shared PostgreSQL. */
export interface PostgresFixture {
  /** Connects with `search_path` set to the schema, also from another process. */
  readonly url: string
  readonly schema: string
  /** Its connections have the same `search_path`. */
  readonly pool: Pool
}

/** A PostgreSQL for one test. */
export interface PostgresServer {
  readonly port: number
  /** Connects as the superuser, without a password. */
  readonly url: string
  /** Shuts the server down cleanly; the data stay for {@link PostgresServer.restart}. */
  stop(): Promise<void>
  /** Starts the server again on the same port, with its data. */
  restart(): Promise<void>
  /** Kills the server, as a crash would; the data stay. */
  kill(): Promise<void>
}

interface Installation {
  readonly initdb: string
  readonly postgres: string
  readonly user: { readonly uid: number; readonly gid: number } | undefined
}

const DEFAULT_URL = 'postgres://root@127.0.0.1:5432/test'
const CONNECT_DEADLINE_MS = 2000
const DROP_DEADLINE_MS = 5000
const DEBIAN_FOLDER = '/usr/lib/postgresql'
const run = promisify(execFile)

let shared: Promise<string | null> | undefined

/**
 * Gives the test a fresh schema on a real PostgreSQL: that of `DATABASE_URL`, else the one on the
 * standard port, else one started for this process. The schema is dropped after the test.
 *
 * @returns `null` when there is none; the test is skipped by then (or has failed, where
 *   `PARAPET_REQUIRE_SERVICES=1`) and should return.
 * @throws Error `DATABASE_URL` is set and nothing answers there.
 */
export async function usePostgres(t: TestContext): Promise<PostgresFixture | null> {
  shared ??= findPostgres()
  const base = await shared
  if (base === null) {
    return missService(t, 'PostgreSQL', `${DEFAULT_URL} does not answer and ${noBinary()}`)
  }
  const schema = `parapet_test_${randomUUID().replaceAll('-', '')}`
  await query(base, `create schema ${schema}`)
  const url = withSearchPath(base, schema)
  const pool = new Pool({ connectionString: url })
  t.after(async () => {
    await pool.end()
    // A connection that the test left open may hold a lock: fail instead of waiting forever.
    await query(base, `set lock_timeout = ${DROP_DEADLINE_MS}; drop schema ${schema} cascade`)
  })
  return { url, schema, pool }
}

/**
 * Starts a PostgreSQL for this test only, on a free loopback port, and stops it after
 * the test. It takes a second or two.
 *
 * @returns `null` when PostgreSQL is not installed, as {@link usePostgres} does.
 */
export async function startPostgres(t: TestContext): Promise<PostgresServer | null> {
  const installation = findInstallation()
  if (installation === null) return missService(t, 'PostgreSQL', noBinary())
  const server = await createServer(installation)
  t.after(() => server.dispose())
  await server.restart()
  return server
}

async function createServer(
  installation: Installation,
): Promise<PostgresServer & { dispose(): Promise<void> }> {
  const { initdb, postgres, user } = installation
  const folder = mkdtempSync(join(tmpdir(), 'parapet-postgres-'))
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  await run(
    initdb,
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    { cwd: folder, ...user },
  )
  const port = await findFreePort()
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'shared_buffers=16MB',
    // The data must survive a killed server, but no crash of the machine: nothing waits for the disk.
    'fsync=off',
    'full_page_writes=off',
  ]
  const server = new ServerProcess({
    file: postgres,
    args: ['-D', data, '-p', `${port}`, ...settings.flatMap((setting) => ['-c', setting])],
    folder,
    user,
    endSignal: 'SIGQUIT',
    probe: async () => void (await query(url, 'select 1')),
  })
  return {
    port,
    url,
    stop: () => server.end('SIGINT'),
    kill: async () => {
      // The processes that serve connections live a moment longer than their parent and would answer.
      const rows = await query(url, 'select pid from pg_stat_activity').catch(() => [])
      await server.end('SIGKILL')
      for (const { pid } of rows) killIfAlive(Number(pid))
    },
    restart: async () => {
      await server.end('SIGINT')
      await server.start()
    },
    dispose: async () => {
      await server.end('SIGQUIT')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Finds a PostgreSQL that answers, in the order of {@link usePostgres}; `null`: there is none. */
export async function findPostgres(local = DEFAULT_URL): Promise<string | null> {
  const given = process.env['DATABASE_URL']
  if (given !== undefined && given !== '') {
    await query(given, 'select 1')
    return given
  }
  try {
    await query(local, 'select 1')
    return local
  } catch {
    const installation = findInstallation()
    if (installation === null) return null
    // Its guard stops it when this process ends.
    const server = await createServer(installation)
    await server.restart()
    return server.url
  }
}

function findInstallation(): Installation | null {
  const folders = debianFolders()
  const initdb = findExecutable('initdb', folders)
  const postgres = findExecutable('postgres', folders)
  if (initdb === null || postgres === null) return null
  if (process.getuid?.() !== 0) return { initdb, postgres, user: undefined }
  // PostgreSQL refuses to run as root.
  const entry = /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  if (entry === null) return null
  return { initdb, postgres, user: { uid: Number(entry[1]), gid: Number(entry[2]) } }
}

/** Debian installs the servers outside PATH, one folder per version; the newest comes first. */
function debianFolders(): string[] {
  try {
    return readdirSync(DEBIAN_FOLDER)
      .toSorted((a, b) => Number(b) - Number(a))
      .map((version) => join(DEBIAN_FOLDER, version, 'bin'))
  } catch {
    return []
  }
}

function noBinary(): string {
  return `initdb and postgres are neither on PATH nor in ${DEBIAN_FOLDER}, or no user may run them`
}

function withSearchPath(base: string, schema: string): string {
  const url = new URL(base)
  url.searchParams.set('options', `-c search_path=${schema}`)
  // URLSearchParams writes a space as "+", which libpq would read as a plus.
  url.search = url.search.replaceAll('+', '%20')
  return url.href
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended with its parent.
  }
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_DEADLINE_MS,
  })
  // The query reports a broken connection; without a listener the event would end the process.
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}
