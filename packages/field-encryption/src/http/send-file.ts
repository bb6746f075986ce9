/** Sends an encrypted file as a response: the whole file, or one range of it. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FileScope } from '../files/file-key.ts'
import type { FileRange, Files } from '../files/files.ts'

/** The options of {@link sendFile}. */
export interface SendFileOptions extends FileScope {
  /** The name under which the file is stored. */
  readonly name: string
  /** @default 'application/octet-stream' */
  readonly contentType?: string
  /** Sends the file as an attachment with this name. @default it is displayed inline */
  readonly fileName?: string
}

const DEFAULT_TYPE = 'application/octet-stream'

/**
 * Decrypts a file into a response. A request for one range gets 206; one for several ranges, or for a
 * malformed one, gets the whole file, as RFC 9110 allows. Every segment is authenticated before it is
 * sent: if a file is damaged, the connection is closed before the damaged segment.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND, PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
 *   PARAPET_FIELD_ENCRYPTION_OPEN_FAILED, PARAPET_FIELD_ENCRYPTION_FORGOTTEN
 * @see RFC 9110, section 14; RFC 6266
 */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  files: Files,
  { name, contentType = DEFAULT_TYPE, fileName, ...scope }: SendFileOptions,
): Promise<FastifyReply> {
  const size = await files.size(name)
  reply.header('accept-ranges', 'bytes').header('x-content-type-options', 'nosniff')
  reply.type(contentType)
  if (fileName !== undefined) reply.header('content-disposition', attachment(fileName))
  if (request.method === 'HEAD') {
    // An empty stream: for any other payload Fastify would replace content-length.
    return reply.header('content-length', size).send(Readable.from([]))
  }
  // The response has no validator (ETag, Last-Modified), so an If-Range condition is always false.
  const acceptsRange = request.method === 'GET' && request.headers['if-range'] === undefined
  const range = acceptsRange ? parseRange(request.headers.range, size) : undefined
  // Set before the range is checked, so that a 416 response states the size of the file.
  if (range !== undefined) reply.header('content-range', `bytes */${size}`)
  const file = await files.get(name, scope, range)
  if (range !== undefined) {
    reply.code(206).header('content-range', `bytes ${file.start}-${file.end}/${size}`)
  }
  return reply.header('content-length', file.end - file.start + 1).send(file.stream)
}

/** The range of a header; `undefined` if it has none, several, or a malformed one. */
function parseRange(header: string | undefined, size: number): FileRange | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') {
    // `bytes=-0` cannot be satisfied: a start at the end of the file makes it a 416.
    return { start: Number(last) === 0 ? size : Math.max(0, size - Number(last)) }
  }
  const start = Number(first)
  if (last === '') return { start }
  return Number(last) < start ? undefined : { start, end: Number(last) }
}

/** The file name twice: in ASCII for old clients, and in UTF-8. @see RFC 6266, section 4.3 */
function attachment(fileName: string): string {
  const plain = fileName.replaceAll(/[^\w. -]/g, '_')
  const encoded = encodeURIComponent(fileName.toWellFormed()).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
