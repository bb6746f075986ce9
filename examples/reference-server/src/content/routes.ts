/** `/content`: the articles of the marketing platform. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { downloadHeaders } from '@parapet/input-guard'
import { uuidV7 } from '@parapet/kit'
import type { RequestRbac } from '@parapet/rbac'
import type { FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { API } from '../http/api.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { idOf } from '../http/schemas.ts'
import { changes, recordChange, type Changed } from '../logging/record-change.ts'
import { allOf, containing } from '../storage/conditions.ts'
import type { Condition } from '../storage/table.ts'
import { createContent } from './repository.ts'
import { addReviewRoutes, forgetReviewers } from './review-routes.ts'
import { Content, contentRoutes, type NewContent } from './schemas.ts'

const publicRead = {
  rbac: { public: 'published content is public; the handlers hide the rest' },
} as const

/** The author in a validated body, as the database writes ids: in lower case. */
function authorOf({ body }: { readonly body: unknown }): Pick<NewContent, 'authorId'> {
  return { authorId: (body as NewContent).authorId }
}

/** Selects published content, and drafts that the caller may read. */
function visibleTo(rbac: RequestRbac): Condition | undefined {
  const filter = rbac.filter('content:read')
  if (filter.kind === 'all') return undefined
  return (firstParameter) => {
    const published = `status = 'published'`
    if (filter.kind === 'none') return { text: published, values: [] }
    const columns = { authorId: 'author_id' }
    const { text, values } = filter.sql({ columns, firstParameter })
    return { text: `(${published} OR ${text})`, values }
  }
}

/** Says that something unsafe was removed from the body of the request. */
function noted<Row extends object>(row: Row, { inputGuard: { sanitized } }: FastifyRequest) {
  return sanitized.length > 0 ? { ...row, sanitized: true as const } : row
}

/** The text is long and may contain personal values. */
function recorded(action: string, id: string): Changed {
  return { action, resource: 'content', id, hidden: ['body'] }
}

type App = Parameters<FastifyPluginAsyncTypebox>[0]
type ContentTable = ReturnType<typeof createContent>

/**
 * Finds content that the caller may read. For a hidden draft the response is 404 instead of 403, exactly
 * as if there were none, so that it does not reveal that a draft exists.
 */
async function findVisible(repository: ContentTable, request: FastifyRequest) {
  const found = await repository.find(idOf(request))
  const visible = found.status === 'published' || (await request.rbac.check('content:read', found))
  if (!visible) throw new PARAPET_REFERENCE_NOT_FOUND()
  return found
}

/** The routes of content. */
export const content: FastifyPluginAsyncTypebox = async (app) => {
  const repository = createContent(app.sql)
  app.addSchema(Content)
  addReadRoutes(app, repository)
  addWriteRoutes(app, repository)
  addReviewRoutes(app, (request) => findVisible(repository, request))
}

function addReadRoutes(app: App, repository: ContentTable): void {
  app.get('', { schema: contentRoutes.list, config: publicRead }, ({ query, rbac }) =>
    repository.list(query, allOf(visibleTo(rbac), containing(['title', 'body'], query.q))),
  )

  app.get(
    '/:id/file',
    { schema: contentRoutes.download, config: publicRead },
    async (request, reply) => {
      const { body } = await findVisible(repository, request)
      return reply.headers(downloadHeaders(request.query.name, 'text/html')).send(body)
    },
  )

  app.get('/:id', { schema: contentRoutes.get, config: publicRead }, async (request, reply) => {
    const found = await findVisible(repository, request)
    return reply.header('etag', etagOf(found)).send(found)
  })
}

function addWriteRoutes(app: App, repository: ContentTable): void {
  const stored = (request: FastifyRequest) => findVisible(repository, request)
  const creating = { permission: 'content:write', resource: authorOf } as const
  const writing = { permission: 'content:write', resource: stored } as const
  const creation = {
    schema: contentRoutes.create,
    config: { audit: changes('content.create'), rbac: creating },
  } as const
  const change = {
    schema: contentRoutes.change,
    config: { audit: changes('content.update'), rbac: writing },
  } as const
  const removal = {
    schema: contentRoutes.remove,
    config: { audit: changes('content.delete'), rbac: writing },
  } as const
  const { sql } = app

  app.post('', creation, async (request, reply) => {
    const id = uuidV7()
    const created = await recordChange(sql, request, recorded('content.create', id), async (tx) => {
      return { before: {}, after: await createContent(tx).insert(request.body, id) }
    })
    const location = `${API}/content/${id}`
    return reply
      .code(201)
      .headers({ location, etag: etagOf(created) })
      .send(noted(created, request))
  })

  app.patch('/:id', change, async (request, reply) => {
    const { body, headers, rbac } = request
    const id = idOf(request)
    // A new author needs the permission that creating content for that author needs.
    if (body.authorId !== undefined) await rbac.authorize('content:write', authorOf(request))
    const changed = await recordChange(sql, request, recorded('content.update', id), async (tx) => {
      const table = createContent(tx)
      const before = await table.lock(id)
      return { before, after: await table.update(id, body, readIfMatch(headers['if-match'])) }
    })
    return reply.header('etag', etagOf(changed)).send(noted(changed, request))
  })

  app.delete('/:id', removal, async (request, reply) => {
    const id = idOf(request)
    await recordChange<object>(sql, request, recorded('content.delete', id), async (tx) => {
      const table = createContent(tx)
      const before = await table.lock(id)
      await table.remove(id, readIfMatch(request.headers['if-match']))
      await forgetReviewers(tx, id)
      return { before, after: {} }
    })
    return reply.code(204).send(null)
  })
}
