/** Encrypted files on the local disk. */
import { Readable } from 'node:stream'
import { mkdir, open, rename, rm, unlink, type FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { takeRandom } from '@parapet/kit'
import {
  PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND,
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
} from '../errors.ts'
import type { FileStore, StoredFile, StoredRange } from './file-store.ts'

/** Only the user of this process may read the files. */
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700
const READ_BYTES = 262_144

/** Creates a store in a folder of the local disk. @param root created if it is missing */
export function createLocalFileStore(root: string): FileStore {
  const home = resolve(root)
  const pathOf = (name: string) => join(home, name)
  return {
    write: (name, source) => writeFile(pathOf(name), source).catch(refuseTaken),
    async read(name, range) {
      const file = await openFile(pathOf(name))
      const stream = await file.read(range)
      // The stream holds the file open until it ends or is destroyed.
      await file.close()
      return stream
    },
    async size(name) {
      const file = await openFile(pathOf(name))
      await file.close()
      return file.size
    },
    open: (name) => openFile(pathOf(name)),
    async delete(name) {
      try {
        await unlink(pathOf(name))
        return true
      } catch (error) {
        if (isMissing(error)) return false
        throw error
      }
    },
  }
}

async function writeFile(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE })
  // The name of a stored file never begins with a dot, so a draft cannot be read as a file.
  const draft = join(dirname(path), `.${takeRandom(12).toString('hex')}`)
  try {
    const file = await open(draft, 'wx', FILE_MODE)
    try {
      for await (const piece of source) await file.writeFile(piece)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

/** Codes for a name that cannot be that of a new file. */
const TAKEN = new Set(['ENAMETOOLONG', 'ENOTDIR', 'EEXIST', 'EISDIR', 'ENOTEMPTY'])

/** The message of the disk has the path of the folder, and Fastify sends messages to the client. */
function refuseTaken(error: NodeJS.ErrnoException): never {
  if (error.syscall === undefined || !TAKEN.has(error.code ?? '')) throw error
  const refused = new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    'the name of a file',
    'must have parts of at most 255 bytes, and not be that of a folder or below another file',
  )
  throw Object.assign(refused, { cause: error })
}

/** Codes for a name that is not a file: absent, a folder, below a file, or too long for the disk. */
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'EISDIR'])

function isMissing(error: unknown): boolean {
  return MISSING.has((error as NodeJS.ErrnoException).code ?? '')
}

/** An open descriptor keeps reading the version that it has opened, also after a rename over it. */
async function openFile(path: string): Promise<StoredFile> {
  const handle = await openHandle(path)
  const { size } = await handle.stat()
  const shared = { users: 1 }
  const release = async (): Promise<void> => {
    shared.users--
    if (shared.users === 0) await handle.close()
  }
  let isClosed = false
  return {
    size,
    async read(range) {
      shared.users++
      const stream = Readable.from(readPieces(handle, size, range), { objectMode: false })
      stream.once('close', () => void release().catch(() => {}))
      return stream
    },
    async close() {
      if (isClosed) return
      isClosed = true
      await release()
    },
  }
}

async function openHandle(path: string): Promise<FileHandle> {
  try {
    const handle = await open(path, 'r')
    if ((await handle.stat()).isFile()) return handle
    await handle.close()
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  throw new PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND()
}

async function* readPieces(
  handle: FileHandle,
  size: number,
  { start, end }: StoredRange = { start: 0, end: size - 1 },
): AsyncGenerator<Buffer> {
  const last = Math.min(end, size - 1)
  for (let at = start; at <= last;) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, last + 1 - at))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at)
    if (bytesRead === 0) return
    at += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}
