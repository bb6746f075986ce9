/**
 * Encrypted files. Each has its own key, wrapped by the keys of a tenant or a subject, followed by a
 * stream in Tink's format.
 *
 * @see docs/spec/encrypted-file.md
 */
import { Readable } from 'node:stream'
import type { KeySource } from '../crypto/key-ring.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
} from '../errors.ts'
import { fileContext, FileKeys, PREFIX_BYTES, type FileScope } from './file-key.ts'
import type { FileStore } from './file-store.ts'
import { createSegmentReader } from './read-range.ts'
import { deriveSegmentKeys } from './segments.ts'
import { AES256_GCM_HKDF_1MB as PARAMETERS, headerBytes, plainSize } from './stream-layout.ts'
import { openStream, sealStream } from './stream.ts'
import { collect, takeHead } from './take-head.ts'

/** A range of bytes, both ends included, as in HTTP. Without an end it reaches to the last byte. */
export interface FileRange {
  readonly start: number
  readonly end?: number
}

/** A file that is open for reading. */
export interface OpenFile {
  /** The plaintext. Each segment is authenticated before it is emitted. Destroy it to stop early. */
  readonly stream: Readable
  /** Length of the whole file, in bytes. */
  readonly size: number
  /** The first and the last byte of the stream; `end` is `start - 1` if it has none. */
  readonly start: number
  readonly end: number
}

/** Stores files encrypted. A file can only be read with its own name, tenant and subject. */
export interface Files {
  /**
   * Encrypts and stores a file, and replaces an existing one. It buffers little more than one segment
   * of 1 MiB.
   *
   * @param name parts of letters, digits, `.`, `_` and `-`, not beginning with `.`, joined by `/`.
   * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT the name is invalid.
   */
  put(name: string, source: AsyncIterable<Uint8Array>, scope?: FileScope): Promise<void>
  /**
   * Opens a file, or a range of it.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND, PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
   *   PARAPET_FIELD_ENCRYPTION_FORGOTTEN
   * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED also as an error of the stream.
   */
  get(name: string, scope?: FileScope, range?: FileRange): Promise<OpenFile>
  /**
   * Wraps the key of a file by the current primary key, so that the former one can be retired. The
   * stream is copied unchanged. Do not call it while the same file is being put.
   *
   * @returns whether the key had to be wrapped.
   */
  rewrap(name: string, scope?: FileScope): Promise<boolean>
  /** The length of the plaintext, computed from the stored size. Only reading the file verifies it. */
  size(name: string): Promise<number>
  /** Deletes a file. @returns whether it existed. */
  delete(name: string): Promise<boolean>
}

const HEADER_BYTES = PREFIX_BYTES + headerBytes(PARAMETERS)
const MAX_NAME_LENGTH = 512
/** Names that mean the same on a disk, in a bucket and in a log. */
const NAME = /^[A-Za-z0-9_-][\w.-]*(?:\/[A-Za-z0-9_-][\w.-]*)*$/

/** Creates {@link Files} over a store. */
export function createFiles(store: FileStore, keys: KeySource): Files {
  return new EncryptedFiles(store, keys)
}

class EncryptedFiles implements Files {
  readonly #store: FileStore
  readonly #fileKeys: FileKeys

  constructor(store: FileStore, keys: KeySource) {
    this.#store = store
    this.#fileKeys = new FileKeys(keys)
  }

  async put(name: string, source: AsyncIterable<Uint8Array>, scope: FileScope = {}) {
    const context = fileContext(requireName(name), scope)
    const { key, prefix } = await this.#fileKeys.create(scope, context)
    await this.#store.write(name, concat(prefix, sealStream(source, key, context, PARAMETERS)))
  }

  async get(name: string, scope: FileScope = {}, range?: FileRange): Promise<OpenFile> {
    const size = await this.size(name)
    return range === undefined
      ? this.#getWhole(name, scope, size)
      : this.#getRange(name, scope, size, range)
  }

  async #getWhole(name: string, scope: FileScope, size: number): Promise<OpenFile> {
    const context = fileContext(name, scope)
    const { head, rest } = await takeHead(await this.#store.read(name), PREFIX_BYTES)
    try {
      const key = await this.#fileKeys.unwrap(head, scope, context)
      const plain = openStream(rest, key, context, PARAMETERS)
      const stream = Readable.from(plain, { objectMode: false })
      // Closes the source also if the stream is destroyed before the first read.
      stream.once('close', () => void rest.return().catch(() => {}))
      return { stream, size, start: 0, end: size - 1 }
    } catch (error) {
      await rest.return()
      throw error
    }
  }

  async #getRange(name: string, scope: FileScope, size: number, range: FileRange) {
    const { start, end = size - 1 } = range
    const isValid = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0
    if (!isValid || start > end || start >= size) throw new PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED()
    const context = fileContext(name, scope)
    const head = await collect(await this.#store.read(name, { start: 0, end: HEADER_BYTES - 1 }))
    const key = await this.#fileKeys.unwrap(head.subarray(0, PREFIX_BYTES), scope, context)
    const keys = deriveSegmentKeys(head.subarray(PREFIX_BYTES), key, context, PARAMETERS)
    const reader = createSegmentReader(this.#store, name, keys, size, PARAMETERS)
    // The response states the size in its headers, so it is authenticated first.
    await reader.checkSize()
    const last = Math.min(end, size - 1)
    const stream = Readable.from(reader.range(start, last), { objectMode: false })
    return { stream, size, start, end: last }
  }

  async rewrap(name: string, scope: FileScope = {}): Promise<boolean> {
    const context = fileContext(requireName(name), scope)
    const { head, rest } = await takeHead(await this.#store.read(name), PREFIX_BYTES)
    try {
      const prefix = await this.#fileKeys.rewrap(head, scope, context)
      if (prefix === undefined) return false
      await this.#store.write(name, concat(prefix, rest))
      return true
    } finally {
      await rest.return()
    }
  }

  async size(name: string): Promise<number> {
    const size = plainSize((await this.#store.size(requireName(name))) - PREFIX_BYTES, PARAMETERS)
    if (size === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    return size
  }

  async delete(name: string): Promise<boolean> {
    return this.#store.delete(requireName(name))
  }
}

async function* concat(
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

function requireName(name: string): string {
  if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH || !NAME.test(name)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the name of a file',
      `must be at most ${MAX_NAME_LENGTH} characters: parts of letters, digits, ".", "_" and "-", ` +
        'none beginning with ".", joined by "/"',
    )
  }
  return name
}
