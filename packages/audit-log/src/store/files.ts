/** Files of a folder, written so that they are on disk. */
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncFolder } from '../wal/sync.ts'

const PRIVATE_FILE = 0o600
const PRIVATE_FOLDER = 0o700

/** Paths are relative to the folder. Only the owner can read what is written. */
export class Files {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Writes a file; its name is durable when its folder, which is added to `folders`, is synced. */
  async put(path: string, bytes: Uint8Array, folders: Set<string>): Promise<void> {
    const target = join(this.#folder, path)
    const folder = dirname(target)
    await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER })
    folders.add(folder)
    await this.#write(target, bytes, 'w')
  }

  /** Replaces a file as a whole: a crash leaves the old one or the new one. */
  async replace(path: string, text: string): Promise<void> {
    const folders = new Set<string>()
    await this.put(`${path}.new`, Buffer.from(text), folders)
    await rename(join(this.#folder, `${path}.new`), join(this.#folder, path))
    for (const folder of folders) await syncFolder(folder)
  }

  /** Adds to the end of a file. */
  async append(path: string, text: string): Promise<void> {
    await this.#write(join(this.#folder, path), Buffer.from(text), 'a')
  }

  /** The content of a file, or `undefined` when there is none. */
  async read(path: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#folder, path))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  async #write(target: string, bytes: Uint8Array, flag: 'a' | 'w'): Promise<void> {
    const file = await open(target, flag, PRIVATE_FILE)
    try {
      await file.writeFile(bytes)
      await file.datasync()
    } finally {
      await file.close()
    }
  }
}
