/** How a mirror is read: from a folder, or over HTTP. */
import { withDeadline } from '@parapet/kit'
import { Files } from '../wal/files.ts'
import type { ReadFile } from './tile-log.ts'

const DEADLINE_MS = 30_000
/** A full bundle has at most 256 entries of 65 535 bytes, each with its length. */
const MAX_BYTES = 256 * (65_535 + 2)

/** Reads the files of a folder. */
export function folderReader(folder: string): ReadFile {
  const files = new Files(folder)
  return (path) => files.read(path)
}

/**
 * Reads the files below a URL.
 *
 * @param headers for example `authorization`, where the routes are guarded.
 */
export function urlReader(
  url: string,
  headers: Readonly<Record<string, string>>,
  deadlineMs = DEADLINE_MS,
): ReadFile {
  const base = url.endsWith('/') ? url : `${url}/`
  return async (path) => {
    const controller = new AbortController()
    const late = () => new Error(`${base}${path} did not answer within ${deadlineMs} ms`)
    try {
      // Over the whole answer: a server may send its body byte by byte.
      const answer = readAnswer(new URL(path, base), headers, controller.signal)
      return await withDeadline(answer, deadlineMs, late)
    } catch (error) {
      throw nameUrl(error as Error, `${base}${path}`)
    } finally {
      controller.abort()
    }
  }
}

async function readAnswer(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const response = await fetch(url, { headers, redirect: 'error', signal })
  if (response.status === 404) {
    await response.body?.cancel()
    return undefined
  }
  if (!response.ok) throw new Error(`${url.href} answered with status ${response.status}`)
  return readBody(response)
}

/** "fetch failed" alone names neither the place nor the reason. */
function nameUrl(error: Error, url: string): Error {
  if (error.message.includes(url)) return error
  const { cause = error } = error
  return new Error(`${url} cannot be read`, { cause })
}

async function readBody({ body, url }: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error(`${url} is longer than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
