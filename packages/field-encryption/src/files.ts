/**
 * Files: a data key for each, wrapped by the keys of the tenant or of the subject, and Tink's stream
 * behind it. Where they are kept is a port.
 *
 * @see docs/spec/encrypted-file.md
 */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { Readable } from 'node:stream'
import { encodeContext, takeRandom } from '@parapet/kit'
import { keyIdOf, OVERHEAD_BYTES } from './aead.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
} from './errors.ts'
import type { FileStore } from './file-store.ts'
import type { KeyRing, KeySource } from './key-ring.ts'
import {
  AES256_GCM_HKDF_1MB as PARAMETERS,
  headerBytes,
  openSegment,
  openStream,
  plainSize,
  plainStart,
  readHeader,
  sealStream,
  segmentOf,
  takeHead,
  type SegmentKeys,
} from './stream.ts'

/** Whose file. */
export interface FileScope {
  /** @default '' */
  readonly tenant?: string
  /** The subject whose own keys wrap the file's. @default the tenant's do */
  readonly subject?: string
}

/** Bytes of a file, both ends included, as in HTTP; without an end, to the last. */
export interface FileRange {
  readonly start: number
  readonly end?: number
}

/** A file that is being read. */
export interface OpenFile {
  /** The plaintext, each segment checked before it leaves. Destroy it when you stop early. */
  readonly stream: Readable
  /** Length of the whole file. */
  readonly size: number
  /** The first and the last byte that the stream holds; `end` is `start - 1` where there is none. */
  readonly start: number
  readonly end: number
}

/** Keeps files encrypted. A file opens under its own name, tenant and subject only. */
export interface Files {
  /** Encrypts and stores, in place of what was there. It holds little more than one segment of 1 MiB. */
  put(name: string, source: AsyncIterable<Uint8Array>, scope?: FileScope): Promise<void>
  /**
   * Opens a file, or a range of it.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND, PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
   *   PARAPET_FIELD_ENCRYPTION_OPEN_FAILED also as the stream's error, PARAPET_FIELD_ENCRYPTION_FORGOTTEN
   */
  get(name: string, scope?: FileScope, range?: FileRange): Promise<OpenFile>
  /**
   * Wraps the key of a file by the present primary key, before the former one is retired; the rest is
   * copied as it is. Not while the same file is being put.
   *
   * @returns whether that was due.
   */
  rewrap(name: string, scope?: FileScope): Promise<boolean>
  /** Length of the plaintext, as the store tells it: only reading the file proves it. */
  size(name: string): Promise<number>
  /** Removes a file. @returns whether there was one. */
  delete(name: string): Promise<boolean>
}

const MAGIC = Buffer.from('PEF1')
const FILE_KEY_BYTES = 32
const WRAPPED_BYTES = OVERHEAD_BYTES + FILE_KEY_BYTES
/** What stands in front of Tink's stream. */
const PREFIX_BYTES = MAGIC.length + WRAPPED_BYTES
const HEADER_BYTES = PREFIX_BYTES + headerBytes(PARAMETERS)
const MAX_NAME_LENGTH = 512

/** Makes {@link Files} over a store. */
export function createFiles(store: FileStore, keys: KeySource): Files {
  return new EncryptedFiles(store, keys)
}

class EncryptedFiles implements Files {
  readonly #store: FileStore
  readonly #keys: KeySource

  constructor(store: FileStore, keys: KeySource) {
    this.#store = store
    this.#keys = keys
  }

  async #ringOf({ tenant = '', subject }: FileScope, create: boolean): Promise<KeyRing> {
    const scope = { tenant, subject: subject ?? null }
    const [ring] = await this.#keys.find([scope], create)
    if (ring === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
    if (!ring) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    return ring
  }

  async #unwrap(prefix: Buffer, scope: FileScope, context: Buffer): Promise<KeyObject> {
    const clear = await this.#open(prefix, scope, context)
    const key = createSecretKey(clear)
    clear.fill(0)
    return key
  }

  async #open(prefix: Buffer, scope: FileScope, context: Buffer): Promise<Buffer> {
    if (prefix.length !== PREFIX_BYTES || !prefix.subarray(0, MAGIC.length).equals(MAGIC)) {
      throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    }
    const wrapped = prefix.subarray(MAGIC.length)
    let { aead } = await this.#ringOf(scope, false)
    if (!aead.knows(keyIdOf(wrapped))) {
      // Another instance may have made the key a moment ago.
      const { tenant = '', subject = null } = scope
      this.#keys.refresh({ tenant, subject }, keyIdOf(wrapped))
      aead = (await this.#ringOf(scope, false)).aead
    }
    return aead.open(wrapped, context)
  }

  async put(name: string, source: AsyncIterable<Uint8Array>, scope: FileScope = {}) {
    const context = contextOf(name, scope)
    const { aead } = await this.#ringOf(scope, true)
    const clear = takeRandom(FILE_KEY_BYTES)
    const key = createSecretKey(clear)
    const prefix = Buffer.concat([MAGIC, aead.seal(clear, context)])
    clear.fill(0)
    await this.#store.write(name, joined(prefix, sealStream(source, key, context, PARAMETERS)))
  }

  async rewrap(name: string, scope: FileScope = {}): Promise<boolean> {
    const context = contextOf(name, scope)
    const { head, rest } = await takeHead(await this.#store.read(name), PREFIX_BYTES)
    try {
      const clear = await this.#open(head, scope, context)
      const { aead } = await this.#ringOf(scope, false)
      if (keyIdOf(head.subarray(MAGIC.length)) === aead.keyset.primaryKeyId) return false
      const prefix = Buffer.concat([MAGIC, aead.seal(clear, context)])
      clear.fill(0)
      await this.#store.write(name, joined(prefix, rest))
      return true
    } finally {
      await rest.return()
    }
  }

  async #getWhole(name: string, scope: FileScope, size: number): Promise<OpenFile> {
    const context = contextOf(name, scope)
    const { head, rest } = await takeHead(await this.#store.read(name), PREFIX_BYTES)
    try {
      const key = await this.#unwrap(head, scope, context)
      const plain = openStream(rest, key, context, PARAMETERS)
      const stream = Readable.from(plain, { objectMode: false })
      // Also where nobody ever reads from it.
      stream.once('close', () => void rest.return().catch(() => {}))
      return { stream, size, start: 0, end: size - 1 }
    } catch (error) {
      await rest.return()
      throw error
    }
  }

  async #getRange(name: string, scope: FileScope, size: number, range: FileRange) {
    const { start, end = size - 1 } = range
    const inside = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0
    if (!inside || start > end || start >= size) throw new PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED()
    const context = contextOf(name, scope)
    const head = await collect(await this.#store.read(name, { start: 0, end: HEADER_BYTES - 1 }))
    const key = await this.#unwrap(head.subarray(0, PREFIX_BYTES), scope, context)
    const segments = readHeader(head.subarray(PREFIX_BYTES), key, context, PARAMETERS)
    const reader = createSegmentReader(this.#store, name, segments, size)
    // The last segment vouches for the length, which the reply is about to state.
    await reader.read(segmentOf(Math.max(0, size - 1), PARAMETERS))
    const last = Math.min(end, size - 1)
    const stream = Readable.from(reader.range(start, last), { objectMode: false })
    return { stream, size, start, end: last }
  }

  async size(name: string): Promise<number> {
    const size = plainSize((await this.#store.size(requireName(name))) - PREFIX_BYTES, PARAMETERS)
    if (size === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    return size
  }

  async get(name: string, scope: FileScope = {}, range?: FileRange): Promise<OpenFile> {
    const size = await this.size(name)
    return range === undefined
      ? this.#getWhole(name, scope, size)
      : this.#getRange(name, scope, size, range)
  }

  async delete(name: string): Promise<boolean> {
    requireName(name)
    return this.#store.delete(name)
  }
}

function createSegmentReader(store: FileStore, name: string, keys: SegmentKeys, size: number) {
  const { segmentBytes } = PARAMETERS
  const last = segmentOf(Math.max(0, size - 1), PARAMETERS)
  async function read(number: number): Promise<Buffer[]> {
    const start = PREFIX_BYTES + (number === 0 ? headerBytes(PARAMETERS) : number * segmentBytes)
    const end = PREFIX_BYTES + (number + 1) * segmentBytes - 1
    const piece = await collect(await store.read(name, { start, end }))
    return openSegment(keys, { number, last: number === last, pieces: [piece] })
  }
  async function* range(start: number, end: number): AsyncGenerator<Buffer> {
    for (
      let number = segmentOf(start, PARAMETERS);
      number <= segmentOf(end, PARAMETERS);
      number++
    ) {
      const plain = Buffer.concat(await read(number))
      const offset = plainStart(number, PARAMETERS)
      yield plain.subarray(Math.max(0, start - offset), end + 1 - offset)
    }
  }
  return { read, range }
}

async function* joined(
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

function contextOf(name: string, { tenant = '' }: FileScope): Buffer {
  return encodeContext(['fe-file1', tenant, requireName(name)])
}

/** Names that mean the same on a disk, in a bucket and in a log. */
function requireName(name: string): string {
  const plain = /^[A-Za-z0-9_-][\w.-]*(?:\/[A-Za-z0-9_-][\w.-]*)*$/
  if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH || !plain.test(name)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the name of a file',
      'must be parts of letters, digits, ".", "_" and "-", none beginning with ".", joined by "/"',
    )
  }
  return name
}
