/** Durable files: every write is synced to disk. */
import { access, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const PRIVATE_FILE = 0o600
const PRIVATE_FOLDER = 0o700

/** Reads and writes files of a folder. Paths are relative to it; only the owner can read the files. */
export class Files {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Writes a file. Its name is durable once its folder, which is added to `folders`, is synced. */
  async put(path: string, bytes: Uint8Array, folders: Set<string>): Promise<void> {
    const target = join(this.#folder, path)
    const folder = dirname(target)
    await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER })
    folders.add(folder)
    await this.#write(target, bytes, 'w')
  }

  /** Replaces a file atomically: a crash leaves the old or the new content. */
  async replace(path: string, text: string): Promise<void> {
    const folders = new Set<string>()
    await this.put(`${path}.new`, Buffer.from(text), folders)
    await rename(join(this.#folder, `${path}.new`), join(this.#folder, path))
    for (const folder of folders) await syncFolder(folder)
  }

  /** Appends to a file. */
  async append(path: string, text: string): Promise<void> {
    await this.#write(join(this.#folder, path), Buffer.from(text), 'a')
  }

  async exists(path: string): Promise<boolean> {
    return access(join(this.#folder, path)).then(
      () => true,
      () => false,
    )
  }

  /** The content of a file; `undefined` if it does not exist. */
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

/** Makes the file names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
