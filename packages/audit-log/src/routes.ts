/** Routes over the log: records, exports, checkpoint, tiles and proofs. All of them are guarded. */
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Audit, ReaderFields } from './audit.ts'
import {
  PARAPET_AUDIT_LOG_FORBIDDEN,
  PARAPET_AUDIT_LOG_NOT_FOUND,
  PARAPET_AUDIT_LOG_NOT_GUARDED,
} from './errors.ts'
import { HASH_BYTES } from './log/merkle.ts'
import { encodeBundle, parseTilePath, TILE_WIDTH } from './log/tiles.ts'
import type { RecordFilter } from './read/filter.ts'
import {
  checkpointSchema,
  eventsSchema,
  exportSchema,
  proofSchema,
  tileSchema,
} from './routes-schemas.ts'

/** What the routes take beside Fastify's `prefix`. */
export interface AuditRoutesOptions {
  /** Whether the caller may read the log; anything but `true` is 403. */
  readonly guard: (request: FastifyRequest) => boolean | Promise<boolean>
  /** Route config that every route carries, for instance a rule of another plugin. */
  readonly config?: Readonly<Record<string, unknown>>
}

type ReaderOf = (request: FastifyRequest) => ReaderFields
type Config = Readonly<Record<string, unknown>>

/** A full tile never changes; nor does a partial one of a given width. */
const FOR_EVER = 'private, max-age=31536000, immutable'

/** Makes the plugin behind `app.audit.routes`. */
export function createRoutes(
  audit: Audit,
  readerOf: ReaderOf,
): FastifyPluginAsync<AuditRoutesOptions> {
  return async function auditRoutes(app, { guard, config = {} }) {
    if (typeof guard !== 'function') throw new PARAPET_AUDIT_LOG_NOT_GUARDED()
    app.addHook('preHandler', async (request) => {
      const allowed: unknown = await guard(request)
      if (allowed !== true) throw new PARAPET_AUDIT_LOG_FORBIDDEN()
    })
    addRecordRoutes(app, audit, readerOf, config)
    addProofRoutes(app, audit, readerOf, config)
  }
}

function addRecordRoutes(
  app: FastifyInstance,
  audit: Audit,
  readerOf: ReaderOf,
  config: Config,
): void {
  app.get<{ Querystring: RecordFilter & { cursor?: string; limit: number } }>(
    '/events',
    { config, schema: eventsSchema },
    async (request) => {
      const { cursor, limit, ...filters } = request.query
      const page = await audit.query({
        filters,
        limit,
        reader: readerOf(request),
        ...(cursor === undefined ? undefined : { cursor }),
      })
      const entries = page.entries.map(({ index, record }) => ({ index, record }))
      return { entries, cursor: page.cursor }
    },
  )
  app.get<{ Querystring: RecordFilter & { format: 'ndjson' | 'csv'; proofs: boolean } }>(
    '/export',
    { config, schema: exportSchema },
    async (request, reply) => {
      const { format, proofs, ...filters } = request.query
      const lines = await audit.export({ filters, format, proofs, reader: readerOf(request) })
      reply.header('content-disposition', `attachment; filename="audit.${format}"`)
      reply.type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson')
      return reply.send(Readable.from(lines, { objectMode: false }))
    },
  )
}

function addProofRoutes(
  app: FastifyInstance,
  audit: Audit,
  readerOf: ReaderOf,
  config: Config,
): void {
  app.get<{ Params: { id: string } }>(
    '/proof/:id',
    { config, schema: proofSchema },
    async (request) => {
      const { id } = request.params
      await audit.write('audit_log.log_read', { ...readerOf(request), data: { proof: id } })
      return audit.prove(id)
    },
  )
  app.get('/checkpoint', { config, schema: checkpointSchema }, async (_request, reply) => {
    const note = await audit.checkpoint()
    reply.header('cache-control', 'no-store').type('text/plain; charset=utf-8')
    return reply.send(note)
  })
  app.get<{ Params: { '*': string } }>(
    '/tile/*',
    { config, schema: tileSchema },
    async (request, reply) => {
      const path = `tile/${request.params['*']}`
      // A bundle holds records; a tile holds hashes only.
      if (path.startsWith('tile/entries/')) {
        const data = { bundle: path }
        await audit.write('audit_log.log_read', { ...readerOf(request), data })
      }
      return sendTile(audit, path, reply)
    },
  )
}

async function sendTile(audit: Audit, path: string, reply: FastifyReply): Promise<FastifyReply> {
  const tile = parseTilePath(path)
  const bytes = tile === undefined ? undefined : await readTile(audit, tile)
  if (bytes === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
  reply.header('cache-control', FOR_EVER).type('application/octet-stream')
  return reply.send(bytes)
}

async function readTile(
  { parts: { store } }: Audit,
  { level, index, width }: NonNullable<ReturnType<typeof parseTilePath>>,
): Promise<Buffer | undefined> {
  if (level === 'entries') {
    const start = index * TILE_WIDTH
    const entries = await store.entries(start, start + width)
    return entries.length === width ? encodeBundle(entries.map(({ leaf }) => leaf)) : undefined
  }
  const hashes = await store.tile(level, index)
  const bytes = width * HASH_BYTES
  return hashes === undefined || hashes.length < bytes ? undefined : hashes.subarray(0, bytes)
}
