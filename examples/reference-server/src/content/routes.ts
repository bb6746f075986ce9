/** `/content`: what the marketing platform shows. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { RequestRbac } from '@parapet/rbac'
import type { FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { etagOf, readIfMatch } from '../etag.ts'
import { idOf } from '../schemas.ts'
import { createContent } from './repository.ts'
import type { Condition } from '../table.ts'
import { Content, contentRoutes, type NewContent } from './schemas.ts'

const open = {
  rbac: { public: 'what is published; the rest looks as if it were not there' },
} as const

/** Who is to be the author, as rows have it. */
function authorOf({ body }: { readonly body: unknown }): Pick<NewContent, 'authorId'> {
  return { authorId: (body as NewContent).authorId.toLowerCase() }
}

/** What is published, and what else the caller may read. */
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

/** The routes of content. */
export const content: FastifyPluginAsyncTypebox = async (app) => {
  const repository = createContent(app.sql)
  const stored = (request: FastifyRequest) => repository.find(idOf(request))
  const creating = { permission: 'content:write', resource: authorOf } as const
  const writing = { permission: 'content:write', resource: stored } as const
  app.addSchema(Content)

  app.post(
    '',
    { schema: contentRoutes.create, config: { audit: 'content.create', rbac: creating } },
    async (request, reply) => {
      const piece = await repository.insert(request.body)
      const location = `/content/${piece.id}`
      return reply
        .code(201)
        .headers({ location, etag: etagOf(piece) })
        .send(piece)
    },
  )

  app.get('', { schema: contentRoutes.list, config: open }, ({ query, rbac }) =>
    repository.list(query, visibleTo(rbac)),
  )

  app.get('/:id', { schema: contentRoutes.get, config: open }, async (request, reply) => {
    const piece = await stored(request)
    const visible = piece.status === 'published' || request.rbac.can('content:read', piece)
    if (!visible) throw new PARAPET_REFERENCE_NOT_FOUND()
    return reply.header('etag', etagOf(piece)).send(piece)
  })

  app.patch(
    '/:id',
    { schema: contentRoutes.change, config: { audit: 'content.update', rbac: writing } },
    async (request, reply) => {
      const { body, params, headers, rbac } = request
      // To write in another's name takes the same as to write it at first.
      if (body.authorId !== undefined) await rbac.authorize('content:write', authorOf(request))
      const piece = await repository.update(params.id, body, readIfMatch(headers['if-match']))
      return reply.header('etag', etagOf(piece)).send(piece)
    },
  )

  app.delete(
    '/:id',
    { schema: contentRoutes.remove, config: { audit: 'content.delete', rbac: writing } },
    async (request, reply) => {
      await repository.remove(request.params.id, readIfMatch(request.headers['if-match']))
      return reply.code(204).send(null)
    },
  )
}
