/** Lets one process use a folder: the lock is a listening socket, which ends with its process. */
import { randomBytes } from 'node:crypto'
import { open, readdir, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_IN_USE, PARAPET_AUDIT_LOG_INVALID_OPTION } from '../errors.ts'

const NAME = 'lock'
const NAMES = /^lock(?:\.[0-9a-f]{6})?$/
/** Some systems allow only 104 bytes for the path of a socket; the name of the lock needs the rest. */
const MAX_FOLDER_BYTES = 90

/**
 * Locks a folder until the returned function is called or the process ends.
 *
 * @throws PARAPET_AUDIT_LOG_IN_USE another process has locked it.
 * @throws PARAPET_AUDIT_LOG_INVALID_OPTION the path is too long for this platform.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  if (Buffer.byteLength(folder) <= MAX_FOLDER_BYTES) return take(folder, folder)
  if (process.platform !== 'linux') {
    throw new PARAPET_AUDIT_LOG_INVALID_OPTION(
      '@parapet/audit-log',
      `  "directory" must be a shorter path: a folder in it may have ${MAX_FOLDER_BYTES} bytes on this platform, got ${folder}`,
    )
  }
  // The path through the file descriptor is always short.
  const handle = await open(folder)
  try {
    const release = await take(folder, `/proc/self/fd/${handle.fd}`)
    return async () => {
      await release()
      await handle.close()
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * Each process first listens under its own name, and then looks for other sockets: of two processes,
 * the later one finds the earlier. Two that start at once may both fail, but never both succeed.
 */
async function take(folder: string, short: string): Promise<() => Promise<void>> {
  const own = `${NAME}.${randomBytes(3).toString('hex')}`
  const server = await listen(join(short, own))
  const release = () => new Promise<void>((resolve) => server.close(() => resolve()))
  let isTaken = false
  const names = await readdir(folder)
  for (const name of names) {
    if (!NAMES.test(name) || name === own) continue
    if (await answers(join(short, name))) isTaken = true
    else await unlink(join(folder, name)).catch(() => {})
  }
  // If the own name is missing, another process took it for a dead socket and removed it.
  if (!isTaken && names.includes(own)) return release
  await release()
  throw new PARAPET_AUDIT_LOG_IN_USE(folder)
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.unref()
    server.once('error', reject)
    server.listen(path, () => resolve(server))
  })
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
