/** `/files`: files of an account. They are encrypted while they arrive; no plaintext touches the disk. */
import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { sendFile, type Files } from '@parapet/field-encryption'
import { uuidV7, type SqlQueryable } from '@parapet/kit'
import { errorCodes, type FastifyInstance, type FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_FILE_REFUSED, PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { API } from '../http/api.ts'
import { idOf } from '../http/schemas.ts'
import { changes, recordChange, type Changed } from '../logging/record-change.ts'
import { actingAs } from '../storage/row-security.ts'
import type { RowOf } from '../storage/table.ts'
import { contentName, createContents, createMeter } from './contents.ts'
import { countFiles, createFileTable, whole } from './repository.ts'
import { FILE_TYPE, fileRoutes, StoredFile, type FileValues } from './schemas.ts'
import { scheduleSweep } from './sweep.ts'

const MAX_FILES = 1000
const own = { rbac: { authenticated: 'the database shows own files only' } } as const

/** A name may say what the file is about. */
const recorded = (action: string, id: string): Changed => {
  return { action, resource: 'file', id, hidden: ['name', 'ownerId', 'folder'] }
}

const upload = {
  schema: fileRoutes.upload,
  config: {
    ...own,
    audit: changes('file.create'),
    inputGuard: { unguarded: 'the body is a stream of bytes, which is measured and encrypted' },
    anomaly: { inspect: false },
  },
} as const
const download = {
  schema: fileRoutes.download,
  config: { ...own, anomaly: { tag: 'file' } },
} as const
const removal = {
  schema: fileRoutes.remove,
  config: { ...own, audit: changes('file.delete') },
} as const

/** The options of the plugin. */
export interface FilesOptions {
  /** The folder of the contents. */
  readonly filesDir: string
}

type App = Parameters<FastifyPluginAsyncTypebox>[0]
type Row = RowOf<FileValues>

const tableOf = ({ fieldEncryption, log }: FastifyInstance, sql: SqlQueryable) =>
  createFileTable({ sql, fieldEncryption, log })

/** @throws PARAPET_REFERENCE_NOT_FOUND also for a file of another account, which the database hides. */
async function findFile(app: FastifyInstance, request: FastifyRequest): Promise<Row> {
  const { principal } = request
  const file = await actingAs(app.sql, principal, (sql) => tableOf(app, sql).find(idOf(request)))
  if (file.state !== 'stored') throw new PARAPET_REFERENCE_NOT_FOUND()
  return file
}

function show({ ownerId: _owner, folder: _folder, state: _state, ...file }: Row) {
  return file
}

/** The routes of files. */
export const files: FastifyPluginAsyncTypebox<FilesOptions> = async (app, { filesDir }) => {
  const contents = createContents(app.fieldEncryption, filesDir)
  app.addSchema(StoredFile)
  app.removeAllContentTypeParsers()
  // The handler reads the stream itself.
  app.addContentTypeParser(FILE_TYPE, (_request, payload, done) => done(null, payload))
  scheduleSweep(app, contents)
  addReadRoutes(app, contents)
  addWriteRoutes(app, contents)
}

function addReadRoutes(app: App, contents: Files): void {
  app.get('', { schema: fileRoutes.list, config: own }, async ({ principal, query }) => {
    const page = await actingAs(app.sql, principal, (sql) => tableOf(app, sql).list(query, whole))
    return { ...page, items: page.items.map(show) }
  })

  app.get('/:id', { schema: fileRoutes.get, config: own }, async (request) =>
    show(await findFile(app, request)),
  )

  app.get('/:id/content', download, async (request, reply) => {
    const file = await findFile(app, request)
    return sendFile(request, reply, contents, {
      name: contentName(file),
      contentType: FILE_TYPE,
      fileName: file.name ?? file.id,
    })
  })
}

function addWriteRoutes(app: App, contents: Files): void {
  app.post('', upload, async (request, reply) => {
    // Without a body and its type, Fastify calls no parser.
    if (!(request.body instanceof Readable)) throw new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()
    const pending = await beginUpload(app, request)
    try {
      const meter = createMeter(request.body)
      await contents.put(contentName(pending), meter.stream)
      const file = await finishUpload(app, request, pending, meter.bytes)
      return await reply.code(201).header('location', `${API}/files/${file.id}`).send(show(file))
    } catch (error) {
      // If this fails as well, the next sweep deletes both.
      await contents.delete(contentName(pending)).catch(() => false)
      await app.sql.query('DELETE FROM files WHERE id = $1', [pending.id]).catch(() => {})
      throw error
    }
  })

  app.delete('/:id', removal, async (request, reply) => {
    const id = idOf(request)
    await recordChange<object>(app.sql, request, recorded('file.delete', id), async (sql) => {
      const table = tableOf(app, sql)
      const before = await table.lock(id)
      // Before the row: without its content a file can still be deleted, but not the other way round.
      await contents.delete(contentName(before))
      await table.remove(id, null)
      return { before, after: {} }
    })
    return reply.code(204).send(null)
  })
}

/** Notes the upload before its first byte, so that a crash leaves no content that nothing names. */
function beginUpload(app: FastifyInstance, request: FastifyRequest): Promise<Row> {
  const ownerId = request.principal!.id
  const { name } = request.query as { readonly name: string }
  return actingAs(app.sql, request.principal, async (sql) => {
    if ((await countFiles(sql, ownerId)) >= MAX_FILES) {
      throw new PARAPET_REFERENCE_FILE_REFUSED('the account has a thousand files')
    }
    const values: FileValues = { ownerId, folder: ownerId, name, bytes: 0, state: 'pending' }
    return tableOf(app, sql).insert(values, uuidV7())
  })
}

function finishUpload(app: FastifyInstance, request: FastifyRequest, { id }: Row, bytes: number) {
  return recordChange(app.sql, request, recorded('file.create', id), async (sql) => {
    const after = await tableOf(app, sql).update(id, { bytes, state: 'stored' }, null)
    return { before: {}, after }
  })
}
