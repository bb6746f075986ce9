/** The port to the storage of encrypted files. */
import { PARAPET_FIELD_ENCRYPTION_FILE_CHANGED } from '../errors.ts'

/** A range of stored bytes, both ends included; an end past the last byte is cut. */
export interface StoredRange {
  readonly start: number
  readonly end: number
}

/** One version of a stored file. What it reads does not change when the file is replaced. */
export interface StoredFile {
  /** The size in bytes. */
  readonly size: number
  /**
   * Reads this version.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_CHANGED the storage has kept a newer version only.
   */
  read(range?: StoredRange): Promise<AsyncIterable<Uint8Array>>
  /** Releases what `open` has taken. Streams that have begun are not interrupted. */
  close(): Promise<void>
}

/** Stores bytes by name. It gets ciphertext only, and names that were validated. */
export interface FileStore {
  /** Stores the whole stream or nothing: a reader never sees a partial file. */
  write(name: string, source: AsyncIterable<Uint8Array>): Promise<void>
  /**
   * Reads a file.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND
   */
  read(name: string, range?: StoredRange): Promise<AsyncIterable<Uint8Array>>
  /** The size in bytes. @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND */
  size(name: string): Promise<number>
  /**
   * Opens the current version of a file.
   *
   * @default `size` and `read` are used: a file that is replaced while it is read may fail to open
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND
   */
  open?(name: string): Promise<StoredFile>
  /** @returns whether the file existed. */
  delete(name: string): Promise<boolean>
}

/** How often a file is opened again that is replaced before its first bytes are read. */
const MAX_ATTEMPTS = 5

/**
 * Opens a file and prepares it for reading, again if it is replaced in the meantime.
 *
 * @param prepare if it throws, the file is closed.
 */
export async function openStored<T>(
  store: FileStore,
  name: string,
  prepare: (file: StoredFile) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const file = await (store.open === undefined ? openUnpinned(store, name) : store.open(name))
    try {
      return await prepare(file)
    } catch (error) {
      await file.close()
      const isGone = error instanceof PARAPET_FIELD_ENCRYPTION_FILE_CHANGED
      if (!isGone || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

async function openUnpinned(store: FileStore, name: string): Promise<StoredFile> {
  return {
    size: await store.size(name),
    read: (range) => store.read(name, range),
    close: async () => {},
  }
}
