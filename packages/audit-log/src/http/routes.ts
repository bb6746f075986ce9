/** Guarded routes for reading the log: records, exports, proofs, key, checkpoint and tiles. */
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Audit } from '../audit.ts'
import {
  PARAPET_AUDIT_LOG_FORBIDDEN,
  PARAPET_AUDIT_LOG_NOT_FOUND,
  PARAPET_AUDIT_LOG_NOT_GUARDED,
} from '../errors.ts'
import { parseTilePath } from '../log/tiles.ts'
import type { ReaderFields } from '../read/reader-fields.ts'
import { readTile } from '../read/tile.ts'
import type { RecordFilter } from '../record/filter.ts'
import {
  checkpointSchema,
  cosignedSchema,
  eventsSchema,
  exportSchema,
  keySchema,
  proofSchema,
  tileSchema,
} from './schemas.ts'

/** Options of the routes, besides Fastify's `prefix`. */
export interface AuditRoutesOptions {
  /** Whether the caller may read the log. Any result but `true` is answered with 403. */
  readonly guard: (request: FastifyRequest) => boolean | Promise<boolean>
  /** Route config for every route, for example the rule of another plugin. */
  readonly config?: Readonly<Record<string, unknown>>
}

type ReaderOf = (request: FastifyRequest) => ReaderFields
type Config = Readonly<Record<string, unknown>>

/** A full tile never changes, and neither does a partial tile of a given width. */
const IMMUTABLE = 'private, max-age=31536000, immutable'

/** Makes the plugin behind `app.audit.routes`. */
export function createRoutes(
  audit: Audit,
  readerOf: ReaderOf,
): FastifyPluginAsync<AuditRoutesOptions> {
  return async function auditRoutes(app, { guard, config = {} }) {
    if (typeof guard !== 'function') throw new PARAPET_AUDIT_LOG_NOT_GUARDED()
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('cache-control', 'no-store')
    })
    app.addHook('preHandler', async (request) => {
      try {
        const allowed: unknown = await guard(request)
        if (allowed !== true) throw new PARAPET_AUDIT_LOG_FORBIDDEN()
      } catch (error) {
        reportRefusal(audit, readerOf(request), request)
        throw error
      }
    })
    addRecordRoutes(app, audit, readerOf, config)
    addProofRoutes(app, audit, readerOf, config)
  }
}

/** Auditors ask who tried to read the log, too. */
function reportRefusal(audit: Audit, { principal }: ReaderFields, request: FastifyRequest): void {
  const subject = typeof principal === 'string' ? { principalId: principal } : undefined
  audit.parts.events.emit('audit_log.read_refused', { ...subject, details: {} }, request)
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
    async (request) => audit.prove(request.params.id, readerOf(request)),
  )
  app.get('/checkpoint', { config, schema: checkpointSchema }, async (_request, reply) => {
    const note = await audit.checkpoint()
    reply.type('text/plain; charset=utf-8')
    return reply.send(note)
  })
  app.get('/cosigned', { config, schema: cosignedSchema }, async (_request, reply) => {
    const note = await audit.cosigned()
    reply.type('text/plain; charset=utf-8')
    return reply.send(note)
  })
  app.get('/key', { config, schema: keySchema }, async (_request, reply) => {
    reply.type('text/plain; charset=utf-8')
    return reply.send(`${audit.verifierKey}\n`)
  })
  app.get<{ Params: { '*': string } }>(
    '/tile/*',
    { config, schema: tileSchema },
    async (request, reply) => {
      const path = `tile/${request.params['*']}`
      // An entry bundle contains records, so reading it is recorded; a tile contains hashes only.
      if (path.startsWith('tile/entries/')) {
        await audit.recordRead(readerOf(request), { bundle: path })
      }
      return sendTile(audit, path, reply)
    },
  )
}

async function sendTile(audit: Audit, path: string, reply: FastifyReply): Promise<FastifyReply> {
  const tile = parseTilePath(path)
  const bytes = tile === undefined ? undefined : await readTile(audit.parts.store, tile)
  if (bytes === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
  reply.header('cache-control', IMMUTABLE).type('application/octet-stream')
  return reply.send(bytes)
}
