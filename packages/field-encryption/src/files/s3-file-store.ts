/** Encrypted files in S3, or in a storage with its protocol, over the application's own client. */
import {
  PARAPET_FIELD_ENCRYPTION_FILE_CHANGED,
  PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND,
} from '../errors.ts'
import type { FileStore, StoredFile, StoredRange } from './file-store.ts'

/** The part of an `S3Client` of `@aws-sdk/client-s3` that is used. */
export interface S3ClientLike {
  send(command: never): Promise<unknown>
}

/** The options of {@link createS3FileStore}. */
export interface S3FileStoreOptions {
  /** An `S3Client`. The caller keeps it and destroys it. */
  readonly client: S3ClientLike
  readonly bucket: string
  /** Precedes every name. @default '' */
  readonly prefix?: string
}

/** The version of an object that is read. `VersionId` only in a bucket with versions. */
interface Version {
  readonly ETag?: string
  readonly VersionId?: string
}

interface Reply extends Version {
  readonly Body?: AsyncIterable<Uint8Array>
  readonly ContentLength?: number
  readonly UploadId?: string
}

/** S3 rejects parts under 5 MiB, except the last one. */
const PART_BYTES = 8_388_608
const MEDIA_TYPE = 'application/octet-stream'

/**
 * Creates a store in a bucket. A file over 8 MiB is uploaded in parts, one at a time, and becomes
 * visible with the last part. `@aws-sdk/client-s3` is loaded at the first call.
 */
export function createS3FileStore(options: S3FileStoreOptions): FileStore {
  return new S3FileStore(options)
}

const loadSdk = () => import('@aws-sdk/client-s3')

class S3FileStore implements FileStore {
  readonly #options: S3FileStoreOptions

  constructor(options: S3FileStoreOptions) {
    this.#options = options
  }

  #objectOf(name: string) {
    const { bucket, prefix = '' } = this.#options
    return { Bucket: bucket, Key: prefix + name }
  }

  async #send(command: unknown): Promise<Reply> {
    try {
      return (await this.#options.client.send(command as never)) as Reply
    } catch (error) {
      const { name, $metadata } = error as {
        name?: string
        $metadata?: { httpStatusCode?: number }
      }
      if (name === 'NoSuchKey' || name === 'NotFound' || $metadata?.httpStatusCode === 404) {
        throw new PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND()
      }
      if ($metadata?.httpStatusCode === 412) throw new PARAPET_FIELD_ENCRYPTION_FILE_CHANGED()
      throw error
    }
  }

  async #uploadParts(name: string, first: Buffer, rest: AsyncIterator<Buffer>) {
    const {
      AbortMultipartUploadCommand,
      CompleteMultipartUploadCommand,
      CreateMultipartUploadCommand,
      UploadPartCommand,
    } = await loadSdk()
    const object = this.#objectOf(name)
    const { UploadId = '' } = await this.#send(
      new CreateMultipartUploadCommand({ ...object, ContentType: MEDIA_TYPE }),
    )
    try {
      const parts: { ETag: string; PartNumber: number }[] = []
      for (let body: Buffer | undefined = first; body !== undefined;) {
        const PartNumber = parts.length + 1
        const { ETag = '' } = await this.#send(
          new UploadPartCommand({ ...object, UploadId, PartNumber, Body: body }),
        )
        parts.push({ ETag, PartNumber })
        const next = await rest.next()
        body = next.done === true ? undefined : next.value
      }
      const MultipartUpload = { Parts: parts }
      await this.#send(new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload }))
    } catch (error) {
      // The parts that were uploaded would be billed until the upload is aborted.
      await this.#send(new AbortMultipartUploadCommand({ ...object, UploadId })).catch(() => {})
      throw error
    }
  }

  async write(name: string, source: AsyncIterable<Uint8Array>): Promise<void> {
    const parts = cutParts(source)
    try {
      const first = await parts.next()
      const body = first.done === true ? Buffer.alloc(0) : first.value
      if (body.length >= PART_BYTES) return await this.#uploadParts(name, body, parts)
      const { PutObjectCommand } = await loadSdk()
      await this.#send(
        new PutObjectCommand({ ...this.#objectOf(name), Body: body, ContentType: MEDIA_TYPE }),
      )
    } finally {
      // Closes a source that was not read to its end.
      await parts.return(undefined)
    }
  }

  async read(name: string, range?: StoredRange): Promise<AsyncIterable<Uint8Array>> {
    return this.#read(name, range, {})
  }

  async #read(name: string, range: StoredRange | undefined, { ETag, VersionId }: Version) {
    const { GetObjectCommand } = await loadSdk()
    const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end}`
    const reply = await this.#send(
      new GetObjectCommand({
        ...this.#objectOf(name),
        ...(Range && { Range }),
        ...(VersionId ? { VersionId } : ETag && { IfMatch: ETag }),
      }),
    )
    // Not every storage with this protocol obeys IfMatch.
    if (ETag !== undefined && reply.ETag !== undefined && reply.ETag !== ETag) {
      await reply.Body?.[Symbol.asyncIterator]().return?.()
      throw new PARAPET_FIELD_ENCRYPTION_FILE_CHANGED()
    }
    return reply.Body!
  }

  async open(name: string): Promise<StoredFile> {
    const { HeadObjectCommand } = await loadSdk()
    const reply = await this.#send(new HeadObjectCommand(this.#objectOf(name)))
    return {
      size: reply.ContentLength ?? 0,
      read: (range) => this.#read(name, range, reply),
      close: async () => {},
    }
  }

  async size(name: string): Promise<number> {
    return (await this.open(name)).size
  }

  async delete(name: string): Promise<boolean> {
    const { DeleteObjectCommand, HeadObjectCommand } = await loadSdk()
    try {
      // S3 answers DELETE with success also if the object does not exist.
      await this.#send(new HeadObjectCommand(this.#objectOf(name)))
    } catch (error) {
      if (error instanceof PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND) return false
      throw error
    }
    await this.#send(new DeleteObjectCommand(this.#objectOf(name)))
    return true
  }
}

/** Cuts a stream into parts of at least 8 MiB; the last one may be shorter. */
async function* cutParts(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of source) {
    pieces.push(piece)
    length += piece.length
    if (length < PART_BYTES) continue
    yield Buffer.concat(pieces)
    pieces = []
    length = 0
  }
  if (length > 0) yield Buffer.concat(pieces)
}
