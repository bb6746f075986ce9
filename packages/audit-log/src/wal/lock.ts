/** One process for one folder: a socket that listens in it, which the kernel takes away with its process. */
import { open, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_IN_USE, PARAPET_AUDIT_LOG_INVALID_OPTION } from '../errors.ts'

/** The longest path a socket may have on every system that has them. */
const MAX_PATH_BYTES = 100

/**
 * Takes the folder until the returned function is called, or the process ends.
 *
 * @throws PARAPET_AUDIT_LOG_IN_USE another process has it.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'lock')
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return take(folder, path)
  if (process.platform !== 'linux') {
    throw new PARAPET_AUDIT_LOG_INVALID_OPTION(
      '@parapet/audit-log',
      `  ${folder}: must be a path of at most ${MAX_PATH_BYTES - 5} bytes`,
    )
  }
  // Through its descriptor every folder has a short name.
  const handle = await open(folder)
  try {
    const release = await take(folder, `/proc/self/fd/${handle.fd}/lock`)
    return async () => {
      await release()
      await handle.close()
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function take(folder: string, path: string): Promise<() => Promise<void>> {
  const server = (await listen(path)) ?? (await takeOver(folder, path))
  return () => new Promise((resolve) => server.close(() => resolve()))
}

async function takeOver(folder: string, path: string): Promise<Server> {
  if (await answers(path)) throw new PARAPET_AUDIT_LOG_IN_USE(folder)
  await unlink(path).catch(() => {})
  const server = await listen(path)
  if (server === undefined) throw new PARAPET_AUDIT_LOG_IN_USE(folder)
  return server
}

/** `undefined` when the path is taken. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.unref()
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
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
