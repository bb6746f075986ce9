/** Sends an encrypted file as a response: the whole file, or one range of it. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  PARAPET_FIELD_ENCRYPTION_FILE_CHANGED,
  PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND,
  PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
} from '../errors.ts'
import type { FileScope } from '../files/file-key.ts'
import {
  isFileName,
  type FileRange,
  type Files,
  type OpenFile,
  type PinnedFile,
} from '../files/files.ts'

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
 * Decrypts a file into a response. A request for one range gets 206; one for several ranges, for a
 * malformed one or of an empty file gets the whole file, as RFC 9110 allows. The response has an
 * `ETag`, and `If-Match`, `If-None-Match` and `If-Range` are obeyed. Every segment is authenticated
 * before it is sent: if a file is damaged, the connection is closed before the damaged segment.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND, PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED,
 *   PARAPET_FIELD_ENCRYPTION_FILE_CHANGED, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
 *   PARAPET_FIELD_ENCRYPTION_FORGOTTEN
 * @see RFC 9110, sections 13 and 14; RFC 6266
 */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  files: Files,
  { name, contentType = DEFAULT_TYPE, fileName, ...scope }: SendFileOptions,
): Promise<FastifyReply> {
  // Often a part of the URL: what no file can be named, no file is named.
  if (!isFileName(name)) throw new PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND()
  try {
    const answer = await files.open(name, scope, async (file) => {
      const etag = `"${file.etag}"`
      reply.header('etag', etag).header('accept-ranges', 'bytes')
      const condition = checkConditions(request, etag)
      if (condition !== undefined) return condition
      reply.header('x-content-type-options', 'nosniff').type(contentType)
      if (fileName !== undefined) reply.header('content-disposition', attachment(fileName))
      return request.method === 'HEAD'
        ? { size: file.size }
        : startStream(request, reply, file, etag)
    })
    if (answer === 'changed') throw new PARAPET_FIELD_ENCRYPTION_FILE_CHANGED()
    return await sendAnswer(reply, answer)
  } catch (error) {
    dropHeaders(reply, error)
    throw error
  }
}

function sendAnswer(
  reply: FastifyReply,
  answer: OpenFile | { readonly size: number } | 'not modified',
): FastifyReply {
  if (answer === 'not modified') return reply.code(304).send()
  if ('stream' in answer) {
    return reply.header('content-length', answer.end - answer.start + 1).send(answer.stream)
  }
  // An empty stream: for any other payload Fastify would replace content-length.
  return reply.header('content-length', answer.size).send(Readable.from([]))
}

/** An error response is not the file. Only a 416 states the size of it. */
function dropHeaders(reply: FastifyReply, error: unknown): void {
  for (const name of ['etag', 'accept-ranges', 'content-disposition']) reply.removeHeader(name)
  if (error instanceof PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED) return
  reply.removeHeader('content-range')
}

async function startStream(
  request: FastifyRequest,
  reply: FastifyReply,
  file: PinnedFile,
  etag: string,
): Promise<OpenFile> {
  const { 'if-range': ifRange, range: header } = request.headers
  // A date in If-Range never matches: the response has no Last-Modified.
  const acceptsRange = request.method === 'GET' && (ifRange === undefined || ifRange === etag)
  const range = acceptsRange ? parseRange(header, file.size) : undefined
  // Set before the range is checked, so that a 416 response states the size of the file.
  if (range !== undefined) reply.header('content-range', `bytes */${file.size}`)
  const open = await file.stream(range)
  if (range !== undefined) {
    reply.code(206).header('content-range', `bytes ${open.start}-${open.end}/${open.size}`)
  }
  return open
}

/** @see RFC 9110, section 13.2.2 */
function checkConditions(
  { headers, method }: FastifyRequest,
  etag: string,
): 'changed' | 'not modified' | undefined {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  if (ifMatch !== undefined && !listsTag(ifMatch, etag, false)) return 'changed'
  if (ifNoneMatch === undefined || !listsTag(ifNoneMatch, etag, true)) return undefined
  return method === 'GET' || method === 'HEAD' ? 'not modified' : 'changed'
}

/** @param weak whether `W/"x"` matches `"x"` */
function listsTag(header: string, etag: string, weak: boolean): boolean {
  const tags = header.split(',').map((tag) => tag.trim())
  return tags.some((tag) => tag === '*' || tag === etag || (weak && tag === `W/${etag}`))
}

/** The range of a header; `undefined` if it has none, several, or a malformed one. */
function parseRange(header: string | undefined, size: number): FileRange | undefined {
  // No range of an empty file can be satisfied: players that ask for `bytes=0-` would fail.
  if (size === 0) return undefined
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
