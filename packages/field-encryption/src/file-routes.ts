/** Sends an encrypted file as a reply: whole, or the one range that was asked for. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FileRange, Files, FileScope } from './files.ts'

/** What {@link sendFile} takes. */
export interface SendFileOptions extends FileScope {
  readonly name: string
  /** @default 'application/octet-stream' */
  readonly contentType?: string
  /** The name to save it under: sent as an attachment. @default shown where it is */
  readonly fileName?: string
}

const DEFAULT_TYPE = 'application/octet-stream'

/**
 * Decrypts a file into a reply. One range is honoured; several, or one that cannot be read, get the
 * whole file, as RFC 9110 has it. Every byte is checked before it leaves: a damaged file ends the
 * connection.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND, PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED
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
    // An empty stream, for Fastify counts the bytes of any other payload.
    return reply.header('content-length', size).send(Readable.from([]))
  }
  // Nothing here ever had a validator, so that what `If-Range` asks is never so.
  const asked = request.method === 'GET' && request.headers['if-range'] === undefined
  const range = asked ? parseRange(request.headers.range, size) : undefined
  // Set first, so that a refused range tells how long the file is.
  if (range !== undefined) reply.header('content-range', `bytes */${size}`)
  const file = await files.get(name, scope, range)
  if (range !== undefined) {
    reply.code(206).header('content-range', `bytes ${file.start}-${file.end}/${size}`)
  }
  return reply.header('content-length', file.end - file.start + 1).send(file.stream)
}

/** The one range of a header, or `undefined`. */
function parseRange(header: string | undefined, size: number): FileRange | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') return Number(last) === 0 ? { start: size } : suffix(Number(last), size)
  const start = Number(first)
  if (last === '') return { start }
  return Number(last) < start ? undefined : { start, end: Number(last) }
}

function suffix(length: number, size: number): FileRange {
  return { start: Math.max(0, size - length) }
}

/** A name in two spellings: for every client, and in UTF-8. */
function attachment(fileName: string): string {
  const plain = fileName.replaceAll(/[^\w. -]/g, '_')
  const encoded = encodeURIComponent(fileName.toWellFormed()).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
