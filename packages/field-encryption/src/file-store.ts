/** Where encrypted files are kept: the port, and the local disk. */
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND } from './errors.ts'

/** Keeps bytes by name. It sees ciphertext only; names have been checked. */
export interface FileStore {
  /** Stores the whole stream or nothing: a reader never finds a part of it. */
  write(name: string, source: AsyncIterable<Uint8Array>): Promise<void>
  /** @param range both ends included; what lies behind the end is left out. @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND */
  read(
    name: string,
    range?: { readonly start: number; readonly end: number },
  ): Promise<AsyncIterable<Uint8Array>>
  /** In bytes. @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND */
  size(name: string): Promise<number>
  /** @returns whether there was one. */
  delete(name: string): Promise<boolean>
}

/** As the disk of this process alone. */
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

/** Keeps files in a folder of the local disk. @param root is made where it is missing */
export function createLocalFileStore(root: string): FileStore {
  const home = resolve(root)
  const pathOf = (name: string) => join(home, name)
  return {
    async write(name, source) {
      const path = pathOf(name)
      await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE })
      // No name of a file begins with a dot, so that this one is never taken for a file.
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
    },
    async read(name, range) {
      await sizeOf(pathOf(name))
      return createReadStream(pathOf(name), { highWaterMark: 262_144, ...range })
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

/** There is no file of this name: there is a folder, a part of it is a file, or no disk has such names. */
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
