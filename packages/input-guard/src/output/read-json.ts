/** Reads JSON that a handler sends as a stream, and lets every other stream pass. */
import { Readable } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'

/** White space, and the bytes of a byte order mark. */
const SKIPPED = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf, 0xfeff])
const [OPEN_ARRAY, OPEN_OBJECT] = [0x5b, 0x7b]

/** Whether a text begins as an object or array of JSON; `undefined`: it has white space only. */
export function startsAsJson(text: string | Uint8Array): boolean | undefined {
  const unitAt = (at: number) => (typeof text === 'string' ? text.charCodeAt(at) : text[at]!)
  for (let at = 0; at < text.length; at++) {
    const unit = unitAt(at)
    if (!SKIPPED.has(unit)) return unit === OPEN_OBJECT || unit === OPEN_ARRAY
  }
  return undefined
}

export type BodyStream = NodeJS.ReadableStream | WebStream

/** A stream of Node.js with the same bytes. */
export function toReadable(stream: BodyStream): Readable {
  if (stream instanceof Readable) return stream
  if ('getReader' in stream) return Readable.fromWeb(stream)
  const destroy = (error: Error | null, done: (error: Error | null) => void) => {
    ;(stream as { destroy?: () => void }).destroy?.()
    done(error)
  }
  return new Readable({ destroy }).wrap(stream)
}

/**
 * Reads a whole stream.
 *
 * @param isJson otherwise a stream that does not begin as JSON is returned itself, with everything it had.
 * @returns `undefined`: it is longer than `maxBytes`, and destroyed
 */
export async function readJson(
  stream: Readable,
  isJson: boolean,
  maxBytes: number,
): Promise<Buffer | Readable | undefined> {
  const chunks: (string | Uint8Array)[] = []
  let isWanted: boolean | undefined = isJson ? true : undefined
  let size = 0
  for await (const each of stream.iterator({ destroyOnReturn: false })) {
    const chunk = each as string | Uint8Array
    chunks.push(chunk)
    size += typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.byteLength
    isWanted ??= startsAsJson(chunk)
    if (isWanted === false) break
    if (size > maxBytes) {
      stream.destroy()
      return undefined
    }
  }
  if (isWanted !== false) {
    return Buffer.concat(
      chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk)),
    )
  }
  for (const chunk of chunks.toReversed()) stream.unshift(chunk)
  return stream
}
