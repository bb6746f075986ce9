/** Encrypted files on the local disk. */
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND } from '../errors.ts'
import type { FileStore } from './file-store.ts'

/** Only the user of this process may read the files. */
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700
const READ_BYTES = 262_144

/** Creates a store in a folder of the local disk. @param root created if it is missing */
export function createLocalFileStore(root: string): FileStore {
  const home = resolve(root)
  const pathOf = (name: string) => join(home, name)
  return {
    write: (name, source) => writeFile(pathOf(name), source),
    async read(name, range) {
      await sizeOf(pathOf(name))
      return createReadStream(pathOf(name), { highWaterMark: READ_BYTES, ...range })
    },
    size: (name) => sizeOf(pathOf(name)),
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

/** Codes for a name that is not a file: absent, a folder, below a file, or too long for the disk. */
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'EISDIR'])

function isMissing(error: unknown): boolean {
  return MISSING.has((error as NodeJS.ErrnoException).code ?? '')
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path)
    if (found.isFile()) return found.size
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  throw new PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND()
}
