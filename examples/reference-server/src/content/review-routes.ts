/** `/content/:id/reviewers`: with whom the author shares a draft. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { SqlTransaction } from '@parapet/kit'
import type { RelationTuple } from '@parapet/rbac'
import type { FastifyRequest } from 'fastify'
import { idOf } from '../http/schemas.ts'
import { changes, recordChange } from '../logging/record-change.ts'
import { asServer } from '../storage/row-security.ts'
import { createUsers } from '../users/repository.ts'
import { addReviewer, removeReviewer } from './schemas.ts'

type App = Parameters<FastifyPluginAsyncTypebox>[0]

/** Adds the routes. @param stored finds the content of a request, if the caller may read it. */
export function addReviewRoutes(
  app: App,
  stored: (request: FastifyRequest) => Promise<object>,
): void {
  const rule = { permission: 'content:write', resource: stored } as const
  const sharing = { audit: changes('content.share'), rbac: rule } as const
  const ending = { audit: changes('content.unshare'), rbac: rule } as const
  const url = '/:id/reviewers/:userId'

  app.put(url, { schema: addReviewer, config: sharing }, async (request, reply) => {
    const changed = recorded('content.share', request)
    await recordChange<object>(app.sql, request, changed, async (transaction) => {
      const reviewer = await asServer(transaction, async () => {
        // Locked, so that the user cannot be deleted meanwhile.
        const { id } = await createUsers(transaction).lock(request.params.userId.toLowerCase())
        await app.rbac.relate({ add: [reviewerOf(request, id)] }, { transaction, request })
        return id
      })
      return { before: {}, after: { reviewer } }
    })
    return reply.code(204).send(null)
  })

  app.delete(url, { schema: removeReviewer, config: ending }, async (request, reply) => {
    const id = request.params.userId.toLowerCase()
    const changed = recorded('content.unshare', request)
    await recordChange<object>(app.sql, request, changed, async (transaction) => {
      await asServer(transaction, () =>
        app.rbac.relate({ remove: [reviewerOf(request, id)] }, { transaction, request }),
      )
      return { before: { reviewer: id }, after: {} }
    })
    return reply.code(204).send(null)
  })
}

function recorded(action: string, request: FastifyRequest) {
  return { action, resource: 'content', id: idOf(request), hidden: [] }
}

function reviewerOf(request: FastifyRequest, userId: string): RelationTuple {
  return {
    object: { type: 'content', id: idOf(request) },
    relation: 'reviewer',
    subject: { type: 'user', id: userId },
  }
}

/** Ends the sharing of content that is deleted. */
export async function forgetReviewers(sql: SqlTransaction, contentId: string): Promise<void> {
  const text = `DELETE FROM rbac_relations WHERE object_type = 'content' AND object_id = $1`
  await asServer(sql, () => sql.query(text, [contentId]))
}
