/**
 * One process per folder, without a native module: the owner listens on a socket in the folder, and
 * the kernel closes the socket when the process ends, however it ends. Process ids say nothing here:
 * the first process of every container has number 1.
 */
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { PARAPET_KIT_FOLDER_IN_USE, PARAPET_KIT_INVALID_ARGUMENT } from './errors.ts'

/** The process that owns a folder, as it describes itself. */
export interface FolderOwner {
  /** Its process id, inside its own PID namespace. */
  readonly pid: number
  readonly host: string
  /** Milliseconds since the Unix epoch. */
  readonly since: number
}

const LOCKS = /^lock\.([1-9]\d{0,8})$/
/** Systems allow the path of a socket 104 bytes or more; the rest is the name in the folder. */
const MAX_FOLDER_BYTES = 80
/** An owner that is stopped accepts connections, but does not describe itself. */
const DESCRIPTION_DEADLINE_MS = 500
/** Each round is lost to another process that starts at the same time. */
const MAX_ROUNDS = 100

/**
 * Makes the folder, readable by its owner only, and takes it for this process.
 *
 * The owner of `lock.<n>` owns the folder while its socket accepts connections. To take over, a
 * process links its own listening socket to `lock.<n + 1>`, which only one can do, and the file
 * with the highest number is never removed: a slow starter that still believes in `n` finds it. Only
 * a refused connection and a missing file prove that an owner has ended; every other error
 * counts as a living owner.
 *
 * It works for processes on one machine, in different containers, too. Machines that share a folder
 * over a network do not see each other's sockets.
 *
 * @returns a function that gives the folder up; it does nothing the second time.
 * @throws PARAPET_KIT_FOLDER_IN_USE another process owns the folder, or another part of this one.
 * @throws PARAPET_KIT_INVALID_ARGUMENT the path is too long for this system.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if (Buffer.byteLength(folder) <= MAX_FOLDER_BYTES) return acquire(folder, folder)
  if (process.platform !== 'linux') {
    const problem = `must be at most ${MAX_FOLDER_BYTES} bytes long to hold a lock, got ${folder}`
    throw new PARAPET_KIT_INVALID_ARGUMENT('the path of the folder', problem)
  }
  // Through its descriptor a folder has a short path.
  const handle = await open(folder)
  try {
    const release = await acquire(folder, `/proc/self/fd/${handle.fd}`)
    return async () => {
      await release()
      await handle.close()
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function acquire(folder: string, shortPath: string): Promise<() => Promise<void>> {
  const own = `lock-${randomBytes(6).toString('hex')}`
  const server = await listen(join(shortPath, own))
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const highest = await highestLock(folder)
      const isFree = highest === 0 || (await probe(folder, shortPath, highest))
      if (isFree && (await claim(folder, own, highest + 1))) {
        await removeOlder(folder, highest)
        return () => close(server)
      }
    }
    throw new PARAPET_KIT_FOLDER_IN_USE(folder, 'processes that start at the same time')
  } catch (error) {
    await close(server)
    throw error
  } finally {
    await unlink(join(folder, own)).catch(() => {})
  }
}

/** @returns whether this process owns the folder now. */
async function claim(folder: string, own: string, number: number): Promise<boolean> {
  const path = join(folder, `lock.${number}`)
  try {
    await link(join(folder, own), path)
  } catch (error) {
    // Another process has linked this number first, or a cleanup has outrun this one.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  // A process that started earlier may own a higher number and have removed the lower ones.
  if ((await highestLock(folder)) === number) return true
  await unlink(path).catch(() => {})
  return false
}

async function highestLock(folder: string): Promise<number> {
  const names = await readdir(folder)
  return Math.max(0, ...names.map((name) => Number(LOCKS.exec(name)?.[1] ?? 0)))
}

async function removeOlder(folder: string, highest: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const number = Number(LOCKS.exec(name)?.[1] ?? Infinity)
    if (number <= highest) await unlink(join(folder, name)).catch(() => {})
  }
}

/** @returns `true` when the owner has ended. @throws PARAPET_KIT_FOLDER_IN_USE it has not. */
async function probe(folder: string, shortPath: string, number: number): Promise<boolean> {
  let owner: string
  try {
    owner = describe(await askOwner(join(shortPath, `lock.${number}`)))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return true
    owner = `a process that does not respond (${code ?? 'unknown error'})`
  }
  throw new PARAPET_KIT_FOLDER_IN_USE(folder, owner)
}

function describe(text: string): string {
  try {
    const { pid, host, since } = JSON.parse(text) as FolderOwner
    if (pid === process.pid && host === hostname()) return 'this process'
    return `process ${pid} on ${host}, since ${new Date(since).toISOString()}`
  } catch {
    return 'a process that does not respond'
  }
}

function listen(path: string): Promise<Server> {
  const owner: FolderOwner = { pid: process.pid, host: hostname(), since: Date.now() }
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(JSON.stringify(owner))
    })
    server.unref()
    server.once('error', reject)
    server.listen(path, () => resolve(server))
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}

/** @returns the owner's description; `''` where it does not come in time. */
function askOwner(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let text = ''
    socket.setTimeout(DESCRIPTION_DEADLINE_MS, () => socket.destroy())
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.once('error', reject)
    socket.once('close', () => resolve(text))
  })
}
