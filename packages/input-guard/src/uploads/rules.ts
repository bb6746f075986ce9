/** What a route accepts as files, and what it gets. */

/** A file while it is checked. */
export interface StagedFile {
  readonly path: string
  /** The media type that was found in the content. */
  readonly type: string
  readonly bytes: number
}

/** Limits of archives, checked while they arrive. */
export interface ArchiveRules {
  /** @default 1000 */
  readonly maxEntries?: number
  /** Unpacked bytes for each packed byte, beyond the first megabyte. @default 100 */
  readonly maxRatio?: number
  /** @default 104 857 600 */
  readonly maxUnpackedBytes?: number
}

/** What {@link receiveFiles} accepts. */
export interface UploadRules {
  /** Media types; the declared one and the content must both be the same one of them. */
  readonly types: readonly string[]
  /** @default 1 */
  readonly maxFiles?: number
  /** Bytes of one file. @default 10 485 760 */
  readonly maxFileBytes?: number
  /** Bytes of all files. @default `maxFiles` × `maxFileBytes` */
  readonly maxTotalBytes?: number
  /** Fields that are no files. @default 20 */
  readonly maxFields?: number
  readonly archive?: ArchiveRules
  /** Where files wait. @default the folder of the operating system for temporary files */
  readonly directory?: string
  /** Quarantine: decides on a file before the handler gets it, for instance by a virus scanner. */
  readonly scan?: (file: StagedFile) => Promise<'clean' | 'infected'>
  /** Draws an image anew into `target`, so that nothing hidden in the original survives. */
  readonly reencode?: (file: StagedFile, target: string) => Promise<void>
  /** How long `scan` and `reencode` may take for one file. @default 30 000 */
  readonly portTimeoutMs?: number
}

/** A file that passed. It is deleted when the response has been sent: move it before. */
export interface ReceivedFile extends StagedFile {
  /** The name of the form field. */
  readonly field: string
  /** Generated; the only name to store the file under. */
  readonly storedName: string
  /** The name that the client sent: text to show, see `downloadHeaders`. */
  readonly displayName: string
  /** SHA-256 of the bytes that arrived, in hexadecimal. */
  readonly sha256: string
}

/** All parts of a form. */
export interface ReceivedForm {
  readonly files: readonly ReceivedFile[]
  readonly fields: Readonly<Record<string, string>>
}

/** One part, as `@fastify/multipart` has it. */
export interface UploadPart {
  readonly type: string
  readonly fieldname: string
  readonly filename?: string | undefined
  readonly mimetype: string
  readonly file?: AsyncIterable<Buffer> & { readonly truncated?: boolean; resume(): unknown }
  readonly value?: unknown
}
