/** An app that serves the output of a real `vite build`, as a static plugin does. */
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Test } from 'tap'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
}

/** Writes the build into a temporary folder. @param changed files to add or to replace. */
export function writeBuild(t: Test, changed: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'vite-build-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = new URL('vite-build.json', import.meta.url)
  const { dist } = JSON.parse(readFileSync(file, 'utf8')) as { dist: Record<string, string> }
  for (const [path, text] of Object.entries({ ...dist, ...changed })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}

/** Sends a file as a stream with a length, validators and a public lifetime. */
function sendFile(reply: FastifyReply, file: string): FastifyReply {
  if (!existsSync(file)) return reply.code(404).send('no such file')
  return reply
    .header('cache-control', 'public, max-age=3600')
    .header('etag', '"1"')
    .header('last-modified', 'Wed, 25 Nov 2026 00:00:00 GMT')
    .header('accept-ranges', 'bytes')
    .header('content-length', readFileSync(file).length)
    .type(TYPES[extname(file)] ?? 'application/octet-stream')
    .send(createReadStream(file))
}

/** Serves the folder; every other path gets the page, as a router in the browser needs it. */
export async function serveBuild(
  t: Test,
  folder: string,
  options: SecurityHeadersOptions = {},
): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  t.after(() => app.close())
  await app.register(securityHeaders, { preset: 'spa', build: { folder }, ...options })
  app.get('/assets/*', (request, reply) => sendFile(reply, join(folder, request.url)))
  app.get('/', (_request, reply) => sendFile(reply, join(folder, 'index.html')))
  app.setNotFoundHandler((_request, reply) => sendFile(reply, join(folder, 'index.html')))
  return app
}
