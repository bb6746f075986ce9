/** `/venues`: where artists play. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { uuidV7 } from '@parapet/kit'
import { API } from '../http/api.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { changes, recordChange, type Changed } from '../logging/record-change.ts'
import { createVenues } from './repository.ts'
import { Venue, venueRoutes } from './schemas.ts'

const publicRead = { rbac: { public: 'the booking site lists its venues publicly' } } as const
const writing = (action: string) => ({ audit: changes(action), rbac: 'venues:write' }) as const

const recorded = (action: string, id: string): Changed => {
  return { action, resource: 'venue', id, hidden: [] }
}

const creation = { schema: venueRoutes.create, config: writing('venue.create') } as const
const change = { schema: venueRoutes.change, config: writing('venue.update') } as const
const removal = { schema: venueRoutes.remove, config: writing('venue.delete') } as const

/** The routes of venues. */
export const venues: FastifyPluginAsyncTypebox = async (app) => {
  const { sql } = app
  const repository = createVenues(sql)
  app.addSchema(Venue)

  app.get('', { schema: venueRoutes.list, config: publicRead }, ({ query }) =>
    repository.list(query),
  )

  app.get('/:id', { schema: venueRoutes.get, config: publicRead }, async ({ params }, reply) => {
    const venue = await repository.find(params.id)
    return reply.header('etag', etagOf(venue)).send(venue)
  })

  app.post('', creation, async (request, reply) => {
    const id = uuidV7()
    const venue = await recordChange(sql, request, recorded('venue.create', id), async (tx) => {
      return { before: {}, after: await createVenues(tx).insert(request.body, id) }
    })
    const headers = { location: `${API}/venues/${id}`, etag: etagOf(venue) }
    return reply.code(201).headers(headers).send(venue)
  })

  app.patch('/:id', change, async (request, reply) => {
    const { body, headers } = request
    const { id } = request.params
    const venue = await recordChange(sql, request, recorded('venue.update', id), async (tx) => {
      const table = createVenues(tx)
      const before = await table.lock(id)
      return { before, after: await table.update(id, body, readIfMatch(headers['if-match'])) }
    })
    return reply.header('etag', etagOf(venue)).send(venue)
  })

  app.delete('/:id', removal, async (request, reply) => {
    const { id } = request.params
    await recordChange<object>(sql, request, recorded('venue.delete', id), async (tx) => {
      const table = createVenues(tx)
      const before = await table.lock(id)
      await table.remove(id, readIfMatch(request.headers['if-match']))
      return { before, after: {} }
    })
    return reply.code(204).send(null)
  })
}
