/** The port to the storage of encrypted files. */

/** Stores bytes by name. It gets ciphertext only, and names that were validated. */
export interface FileStore {
  /** Stores the whole stream or nothing: a reader never sees a partial file. */
  write(name: string, source: AsyncIterable<Uint8Array>): Promise<void>
  /**
   * Reads a file.
   *
   * @param range both ends included; an end past the last byte is cut.
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND
   */
  read(
    name: string,
    range?: { readonly start: number; readonly end: number },
  ): Promise<AsyncIterable<Uint8Array>>
  /** The size in bytes. @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND */
  size(name: string): Promise<number>
  /** @returns whether the file existed. */
  delete(name: string): Promise<boolean>
}
