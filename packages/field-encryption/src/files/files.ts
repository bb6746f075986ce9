/**
 * Encrypted files. Each has its own key, wrapped by the keys of a tenant or a subject, followed by a
 * stream in Tink's format.
 *
 * @see docs/spec/encrypted-file.md
 */
import { createHash, type KeyObject } from 'node:crypto'
import { Readable } from 'node:stream'
import type { KeySource } from '../key-ring/key-ring.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
} from '../errors.ts'
import { fileContext, FileKeys, PREFIX_BYTES, type FileScope } from './file-key.ts'
import { openStored, type FileStore, type StoredFile } from './file-store.ts'
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
  /** Changes with every `put`, and not with `rewrap`; no secret. A strong entity tag, unquoted. */
  readonly etag: string
}

/** One version of a file, open for reading. */
export interface PinnedFile {
  /** Length of the whole file, in bytes. Only reading the file verifies it. */
  readonly size: number
  /** As in {@link OpenFile}. */
  readonly etag: string
  /** @throws PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED */
  stream(range?: FileRange): Promise<OpenFile>
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
   * Opens a file, or a range of it. A file that is replaced while it is read stays readable as it was.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND, PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
   *   PARAPET_FIELD_ENCRYPTION_FORGOTTEN
   * @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED also as an error of the stream.
   */
  get(name: string, scope?: FileScope, range?: FileRange): Promise<OpenFile>
  /**
   * Opens one version of a file, to decide from its size and its tag what is read of it.
   *
   * @param use called again if the file is replaced before its first byte is read.
   * @throws what `get` throws.
   */
  open<T>(name: string, scope: FileScope, use: (file: PinnedFile) => Promise<T>): Promise<T>
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
    const sealed = sealStream(requireBytes(source), key, context, PARAMETERS)
    await this.#store.write(name, concat(prefix, sealed))
  }

  async get(name: string, scope: FileScope = {}, range?: FileRange): Promise<OpenFile> {
    return this.open(name, scope, (file) => file.stream(range))
  }

  async open<T>(name: string, scope: FileScope, use: (file: PinnedFile) => Promise<T>) {
    const context = fileContext(requireName(name), scope)
    return openStored(this.#store, name, async (stored) => {
      const size = plainSizeOf(stored.size)
      const bytes = await collect(await stored.read({ start: 0, end: HEADER_BYTES - 1 }))
      const header = bytes.subarray(PREFIX_BYTES, HEADER_BYTES)
      const key = await this.#fileKeys.unwrap(bytes.subarray(0, PREFIX_BYTES), scope, context)
      const file = { stored, size, etag: etagOf(header), key, header, context }
      const used = await use({
        size,
        etag: file.etag,
        stream: (range) => (range === undefined ? streamWhole(file) : streamRange(file, range)),
      })
      await stored.close()
      return used
    })
  }

  async rewrap(name: string, scope: FileScope = {}): Promise<boolean> {
    const context = fileContext(requireName(name), scope)
    return openStored(this.#store, name, async (stored) => {
      const { head, rest } = await takeHead(await stored.read(), PREFIX_BYTES)
      try {
        const prefix = await this.#fileKeys.rewrap(head, scope, context)
        if (prefix !== undefined) await this.#store.write(name, concat(prefix, rest))
        return prefix !== undefined
      } finally {
        await rest.return()
        await stored.close()
      }
    })
  }

  async size(name: string): Promise<number> {
    return plainSizeOf(await this.#store.size(requireName(name)))
  }

  async delete(name: string): Promise<boolean> {
    return this.#store.delete(requireName(name))
  }
}

/** A version of a file whose key is unwrapped. */
interface UnwrappedFile {
  readonly stored: StoredFile
  readonly size: number
  readonly etag: string
  readonly key: KeyObject
  readonly header: Buffer
  readonly context: Buffer
}

async function streamWhole({ stored, size, etag, key, context }: UnwrappedFile): Promise<OpenFile> {
  const { rest } = await takeHead(await stored.read(), PREFIX_BYTES)
  const stream = Readable.from(openStream(rest, key, context, PARAMETERS), { objectMode: false })
  // Closes the source also if the stream is destroyed before the first read.
  stream.once('close', () => void rest.return().catch(() => {}))
  return { stream, size, start: 0, end: size - 1, etag }
}

async function streamRange(file: UnwrappedFile, range: FileRange): Promise<OpenFile> {
  const { size, etag } = file
  const { start, end = size - 1 } = range
  const isValid = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0
  if (!isValid || start > end || start >= size) throw new PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED()
  const keys = deriveSegmentKeys(file.header, file.key, file.context, PARAMETERS)
  const reader = createSegmentReader(file.stored, keys, size, PARAMETERS)
  // The response states the size in its headers, so it is authenticated first.
  await reader.checkSize()
  const last = Math.min(end, size - 1)
  const stream = Readable.from(await reader.range(start, last), { objectMode: false })
  return { stream, size, start, end: last, etag }
}

/** The header has a random salt, new with every `put`, that `rewrap` copies. */
function etagOf(header: Buffer): string {
  return createHash('sha256').update('fe-etag1').update(header).digest('base64url').slice(0, 22)
}

/** @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED no file has this stored size. */
function plainSizeOf(storedBytes: number): number {
  const size = plainSize(storedBytes - PREFIX_BYTES, PARAMETERS)
  if (size === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  return size
}

/** @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT a piece is no bytes: a stream of text. */
async function* requireBytes(source: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    if (!(piece instanceof Uint8Array)) {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
        'the source of a file',
        `must yield Uint8Array, got ${typeof piece}`,
      )
    }
    yield piece
  }
}

async function* concat(
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

/** Whether a text can be the name of a file. */
export function isFileName(name: string): boolean {
  return typeof name === 'string' && name.length <= MAX_NAME_LENGTH && NAME.test(name)
}

function requireName(name: string): string {
  if (!isFileName(name)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the name of a file',
      `must be at most ${MAX_NAME_LENGTH} characters: parts of letters, digits, ".", "_" and "-", ` +
        'none beginning with ".", joined by "/"',
    )
  }
  return name
}
