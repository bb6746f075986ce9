/** One process for one folder: a socket that listens in it, which the kernel takes away with its process. */
import { randomBytes } from 'node:crypto'
import { open, readdir, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_IN_USE, PARAPET_AUDIT_LOG_INVALID_OPTION } from '../errors.ts'

const NAME = 'lock'
const NAMES = /^lock(?:\.[0-9a-f]{6})?$/
/** What is left for a folder of the shortest path that a system allows a socket, 104 bytes with its end. */
const MAX_FOLDER_BYTES = 90

/**
 * Takes the folder until the returned function is called, or the process ends.
 *
 * @throws PARAPET_AUDIT_LOG_IN_USE another process has it.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  if (Buffer.byteLength(folder) <= MAX_FOLDER_BYTES) return take(folder, folder)
  if (process.platform !== 'linux') {
    throw new PARAPET_AUDIT_LOG_INVALID_OPTION(
      '@parapet/audit-log',
      `  ${folder}: must be a path of at most ${MAX_FOLDER_BYTES} bytes`,
    )
  }
  // Through its descriptor every folder has a short name.
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
 * Each process listens under a name of its own and looks for others afterwards: of two, the later one
 * finds the earlier. Two that begin at once may both give way, but never both go on.
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
  // Gone is the name of whoever was found before it listened.
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
