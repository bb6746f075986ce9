/** `/console`: the page and its files, under the strictest policy for pages. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { problems } from '../http/schemas.ts'
import { assetsOf, writePage, type PageOptions } from './write-page.ts'

const common = {
  isConsole: true,
  // A browser with the cookie of a session that has ended must get the page, to sign in again.
  sessions: 'ignored',
  rbac: { public: 'the page itself has no data; it signs in' },
  // In lockdown, too: an operator ends it here.
  anomaly: { open: true, watch: false },
} as const
const page = { ...common, securityHeaders: { preset: 'web' } } as const
const file = {
  ...common,
  securityHeaders: { preset: 'web', cacheControl: 'authenticated' },
} as const

const IMMUTABLE = 'private, max-age=31536000, immutable'
const tags = ['console']
const html = { content: { 'text/html': { schema: { type: 'string' } } } }

/** The addresses that a person types first. */
const entries = { '/': 'getEntry', '/console/': 'getConsoleFolder' } as const

async function consolePagePlugin(app: FastifyInstance, options: PageOptions): Promise<void> {
  const { hash, directory } = options.bundle
  const schema = {
    operationId: 'getConsole',
    summary: 'The security console',
    tags,
    response: { 200: { description: 'The page', ...html }, ...problems },
  }
  app.get('/console', { schema, config: page }, async (_request, reply) => {
    // Reading the nonce adds it to the policy of this response.
    return reply.type('text/html; charset=utf-8').send(write(options, reply.cspNonce.script))
  })
  for (const [url, operationId] of Object.entries(entries)) {
    const response = { 302: { type: 'null', description: 'To the console' }, ...problems }
    const entry = { operationId, summary: 'Go to the console', tags, response }
    app.get(url, { schema: entry, config: page }, (_request, reply) =>
      reply.redirect('/console', 302),
    )
  }
  const names = await readdir(directory)
  await app.register(async (child) => {
    // Without routes of its own: the plugin would declare them without the rules of the other plugins.
    await child.register(fastifyStatic, {
      root: directory,
      serve: false,
      cacheControl: false,
      // Under `private`, a shared cache keeps nothing of a request with cookies.
      setHeaders: (reply) => void reply.header('cache-control', IMMUTABLE),
    })
    const files = { schema: describeFiles(hash, names), config: file }
    child.get<{ Params: { name: string } }>(
      '/console/assets/:hash/:name',
      files,
      (request, reply) => reply.sendFile(request.params.name),
    )
  })
  const { size } = await stat(join(directory, 'console.js'))
  app.log.info({ hash, scriptBytes: size }, 'console: bundled')
}

/** Only the files of this bundle have a path; any other is a request that is not valid. */
function describeFiles(hash: string, names: readonly string[]): FastifySchema {
  const params = Type.Object({
    hash: Type.String({ enum: [hash] }),
    name: Type.String({ enum: [...names] }),
  })
  return {
    operationId: 'getConsoleFile',
    summary: 'A file of the console',
    tags,
    params,
    response: { 200: { description: 'The file', content: { '*/*': { schema: {} } } }, ...problems },
  }
}

function write(options: PageOptions, nonce: string): string {
  const assets = assetsOf(options.bundle)
  return writePage(options, {
    title: 'Parapet console',
    head: `<link rel="preload" as="font" type="font/woff2" crossorigin href="${assets}/geist-latin-wght-normal.woff2">
<script nonce="${nonce}" src="${assets}/theme.js"></script>
<script nonce="${nonce}" type="module" src="${assets}/console.js"></script>`,
    body: `<div id="app"></div>
<noscript>The console needs JavaScript.</noscript>`,
  })
}

/** The page. */
export const consolePage = fp(consolePagePlugin, { name: 'console-page', fastify: '5.x' })
