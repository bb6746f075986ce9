/** Sends the pages of a build with a nonce, by a transform of what a static plugin sends. */
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Build } from '../../build/read-build.ts'
import { blockOf, entryOf, type Parts } from '../request/parts.ts'

/** Adds the hook. Only pages with exactly the bytes of a file get a nonce, so injected code gets none. */
export function addShells(app: FastifyInstance, build: Build, parts: Parts): void {
  const miss = createMissReport(app, parts.securityEvents)
  const rewrite = (reply: FastifyReply, body: string | Buffer): string | Buffer => {
    const shell = build.shellOf(body)
    if (shell === undefined) {
      miss(reply)
      return body
    }
    removeLength(reply)
    reply.removeHeader('content-encoding')
    return shell.join(reply.cspNonce.script)
  }
  app.addHook('onSend', async function securityHeadersShell(request, reply, payload) {
    if (!entryOf(request, parts).shells || !isPage(reply)) return payload
    if (blockOf(request, parts).nonceHeaders.length === 0) return payload
    if (request.method === 'HEAD') removeLength(reply)
    else if (typeof payload === 'string' || Buffer.isBuffer(payload)) return rewrite(reply, payload)
    else if (payload instanceof Readable) {
      const read = await readWhole(payload, build.maxBytes)
      if (Buffer.isBuffer(read)) return rewrite(reply, read)
      miss(reply)
      return read
    }
    return payload
  })
}

/** Bounds the memory: a route is known by its pattern, and an app has few pages. */
const MAX_REPORTED = 1000

/** Reports a page that is no file of the build: in the log once, as an event once for each route. */
function createMissReport(
  app: FastifyInstance,
  securityEvents: Parts['securityEvents'],
): (reply: FastifyReply) => void {
  const reported = new Set<string | undefined>()
  return ({ request, statusCode }) => {
    const { url } = request.routeOptions
    if (reported.has(url) || reported.size >= MAX_REPORTED) return
    if (reported.size === 0) {
      app.log.warn(
        `@parapet/security-headers sent a page for ${url} that is no file of the build, so its scripts do not run. If the build has changed, restart; for another page set the preset "web"`,
      )
    }
    reported.add(url)
    securityEvents.emit('security_headers.page_unknown', { details: { statusCode } }, request)
  }
}

function isPage(reply: FastifyReply): boolean {
  const type = reply.getHeader('content-type')
  const { statusCode } = reply
  if (statusCode === 206 || statusCode === 304) return false
  return typeof type === 'string' && /^text\/html\b/i.test(type)
}

/** The length and the validators of the file are not those of the page with a nonce. */
function removeLength(reply: FastifyReply): void {
  for (const name of ['content-length', 'accept-ranges', 'etag', 'last-modified']) {
    reply.removeHeader(name)
  }
}

/** @returns the body; or, if it is longer than any page, a stream of all that was and will be read. */
async function readWhole(stream: Readable, maxBytes: number): Promise<Buffer | Readable> {
  const chunks: Buffer[] = []
  const source = (stream as AsyncIterable<Buffer | string>)[Symbol.asyncIterator]()
  let size = 0
  for (let next = await source.next(); next.done !== true; next = await source.next()) {
    const chunk = Buffer.from(next.value as Buffer)
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes) return Readable.from(continueAfter(chunks, source))
  }
  return Buffer.concat(chunks)
}

/** The caller's stream is destroyed together with this one. */
async function* continueAfter(
  chunks: readonly Buffer[],
  source: AsyncIterator<Buffer | string>,
): AsyncGenerator<Buffer> {
  try {
    yield* chunks
    for (let next = await source.next(); next.done !== true; next = await source.next()) {
      yield Buffer.from(next.value as Buffer)
    }
  } finally {
    await source.return?.()
  }
}
