/** Sends requests over the network, within a deadline, and reads the beginning of bodies. */
import type { ProbeRequest, Reply, Send } from '../facts/reply.ts'

const MAX_BYTES = 64 * 1024

/** Sends to one origin; redirects are not followed. */
export function createSiteSend(address: URL, deadlineMs: number): Send {
  return async ({ method, url, headers, body }: ProbeRequest) => {
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(), deadlineMs)
    try {
      // Not resolved as a reference: `//x` and `/../x` must arrive as they are.
      const response = await fetch(`${address.origin}${url}`, {
        method,
        headers,
        redirect: 'manual',
        signal: stop.signal,
        ...(body === undefined ? {} : { body }),
      })
      return await readReply(response)
    } catch {
      return undefined
    } finally {
      clearTimeout(timer)
      stop.abort()
    }
  }
}

async function readReply(response: Response): Promise<Reply> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= MAX_BYTES) break
  }
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    cookies: response.headers.getSetCookie(),
    body: Buffer.concat(chunks).subarray(0, MAX_BYTES).toString('utf8'),
  }
}
