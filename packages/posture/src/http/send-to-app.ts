/** Sends requests to an app without a network, within a deadline, and reads the beginning of bodies. */
import type { FastifyInstance, InjectOptions } from 'fastify'
import { withDeadline } from '@parapet/kit'
import type { ProbeRequest, Reply, Send } from '../facts/reply.ts'

const MAX_BYTES = 64 * 1024

/**
 * @param deadlineMs for one request.
 * @param host the Host header.
 */
export function createSend(app: FastifyInstance, deadlineMs: number, host: string): Send {
  let count = 0
  return async (request) => {
    const stop = new AbortController()
    // Each request comes from another network, so that a limiter by address does not refuse the probes.
    const remoteAddress = addressOf(count++)
    try {
      const settings = { remoteAddress, authority: host, signal: stop.signal }
      return await withDeadline(
        exchange(app, request, settings),
        deadlineMs,
        () => new Error('no response'),
      )
    } catch {
      return undefined
    } finally {
      stop.abort()
    }
  }
}

/** Addresses for measurements (RFC 2544), neighbours far apart. */
function addressOf(count: number): string {
  return `198.${18 + (count % 2)}.${(count >> 1) % 256}.${1 + ((count >> 9) % 254)}`
}

async function exchange(
  app: FastifyInstance,
  { method, url, headers, body }: ProbeRequest,
  settings: Pick<InjectOptions, 'remoteAddress' | 'authority' | 'signal'>,
): Promise<Reply> {
  const response = await app.inject({
    ...settings,
    method,
    url,
    headers: { ...headers },
    ...(body === undefined ? {} : { payload: body }),
    payloadAsStream: true,
  })
  const values = Object.entries(response.headers).filter(([, value]) => value !== undefined)
  const cookies = response.headers['set-cookie'] ?? []
  return {
    status: response.statusCode,
    headers: Object.fromEntries(values.map(([name, value]) => [name.toLowerCase(), String(value)])),
    cookies: (Array.isArray(cookies) ? cookies : [cookies]).map(String),
    body: await readBeginning(response.stream()),
  }
}

async function readBeginning(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array | string)
    chunks.push(bytes)
    size += bytes.length
    if (size >= MAX_BYTES) break
  }
  return Buffer.concat(chunks).subarray(0, MAX_BYTES).toString('utf8')
}
