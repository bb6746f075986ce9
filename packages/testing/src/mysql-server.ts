/** MariaDB for tests: the running server, or one that is started for this process. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findExecutable, findFreePort, ServerProcess } from './server-process.ts'
import { missService, type TestContext } from './test-context.ts'

/** Where it answers; the user `root` has no password. */
export interface MysqlAddress {
  readonly host: string
  readonly port: number
}

const HOST = '127.0.0.1'
const STANDARD_PORT = 3306
const ANSWER_DEADLINE_MS = 2000
/** Debian installs the server outside PATH. */
const FOLDERS = ['/usr/sbin']
const run = promisify(execFile)

let shared: Promise<MysqlAddress | string> | undefined

/**
 * Gives the test a MariaDB: the one on the standard port, else one started for this process.
 *
 * @returns `null` when there is none; the test is skipped by then (or has failed, where
 *   `PARAPET_REQUIRE_SERVICES=1`) and should return.
 */
export async function useMysql(t: TestContext): Promise<MysqlAddress | null> {
  shared ??= findMysql()
  const found = await shared
  return typeof found === 'string' ? missService(t, 'MariaDB', found) : found
}

/** Finds a MariaDB, in the order of {@link useMysql}. @returns a reason if there is none. */
export async function findMysql(port = STANDARD_PORT): Promise<MysqlAddress | string> {
  try {
    await greet(port)
    return { host: HOST, port }
  } catch {
    return startMysql()
  }
}

async function startMysql(): Promise<MysqlAddress | string> {
  const server = findExecutable('mariadbd', FOLDERS)
  const install = findExecutable('mariadb-install-db')
  if (server === null || install === null) {
    return `nothing answers on port ${STANDARD_PORT}, and mariadbd and mariadb-install-db are not installed`
  }
  const user = serverUser()
  const folder = mkdtempSync(join(tmpdir(), 'parapet-mysql-'))
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const data = `--datadir=${join(folder, 'data')}`
  const access = '--auth-root-authentication-method=normal'
  await run(install, ['--no-defaults', data, access], { cwd: folder, ...user })
  const port = await findFreePort()
  const settings = [`--port=${port}`, `--bind-address=${HOST}`, `--socket=${join(folder, 's')}`]
  const started = new ServerProcess({
    file: server,
    args: ['--no-defaults', data, ...settings, '--innodb-flush-log-at-trx-commit=0'],
    folder,
    user,
    endSignal: 'SIGTERM',
    probe: () => greet(port),
  })
  // Its guard stops it when this process ends.
  await started.start()
  return { host: HOST, port }
}

/** MariaDB refuses to run as root. */
function serverUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const entry = /^mysql:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  return entry === null ? undefined : { uid: Number(entry[1]), gid: Number(entry[2]) }
}

/** The server speaks first: its packet begins with version 10 of the protocol. */
async function greet(port: number): Promise<void> {
  const socket = connect({ host: HOST, port })
  try {
    const signal = AbortSignal.timeout(ANSWER_DEADLINE_MS)
    const [packet] = (await once(socket, 'data', { signal })) as [Buffer]
    if (packet[4] !== 10) throw new Error(`what answers on port ${port} is no MySQL`)
  } finally {
    socket.destroy()
  }
}
