/** `/artists`: the artists of the booking platform. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { uuidV7, type SqlQueryable } from '@parapet/kit'
import { API } from '../http/api.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { changes, recordChange, type Changed } from '../logging/record-change.ts'
import { createArtists, type ArtistPorts } from './repository.ts'
import { Artist, artistRoutes } from './schemas.ts'
import { selectedBy } from './search.ts'

const publicRead = { rbac: { public: 'the booking site lists its artists publicly' } } as const

/** Who the artist is, and how to reach the artist, is personal. */
function recorded(action: string, id: string): Changed {
  return { action, resource: 'artist', id, hidden: ['name', 'bio', 'phone'] }
}

const creation = {
  schema: artistRoutes.create,
  config: { audit: changes('artist.create'), rbac: 'artists:write' },
} as const
const change = {
  schema: artistRoutes.change,
  config: { audit: changes('artist.update'), rbac: 'artists:write' },
} as const
const removal = {
  schema: artistRoutes.remove,
  config: { audit: changes('artist.delete'), rbac: 'artists:write' },
} as const

/** The routes of artists. */
export const artists: FastifyPluginAsyncTypebox<Pick<ArtistPorts, 'isKeysetSaved'>> = async (
  app,
  { isKeysetSaved },
) => {
  const { sql, fieldEncryption, log } = app
  const artistsOf = (on: SqlQueryable) =>
    createArtists({ sql: on, fieldEncryption, isKeysetSaved, log })
  const repository = artistsOf(sql)
  app.addSchema(Artist)

  app.post('', creation, async (request, reply) => {
    const id = uuidV7()
    const artist = await recordChange(sql, request, recorded('artist.create', id), async (tx) => {
      return { before: {}, after: await artistsOf(tx).insert(request.body, id) }
    })
    const location = `${API}/artists/${id}`
    return reply
      .code(201)
      .headers({ location, etag: etagOf(artist) })
      .send(artist)
  })

  app.get('', { schema: artistRoutes.list, config: publicRead }, (request) =>
    repository.list(request.query),
  )

  app.get('/search', { schema: artistRoutes.search, config: publicRead }, ({ query }) =>
    repository.list(query, selectedBy(query)),
  )

  app.get('/:id', { schema: artistRoutes.get, config: publicRead }, async (request, reply) => {
    const artist = await repository.find(request.params.id)
    return reply.header('etag', etagOf(artist)).send(artist)
  })

  app.post('/quotes', { schema: artistRoutes.quote, config: publicRead }, async ({ body }) => {
    const { hourlyRateMinor, currency } = await repository.find(body.artistId)
    return { ...body, priceMinor: Math.round(hourlyRateMinor * body.hours), currency }
  })

  app.patch('/:id', change, async (request, reply) => {
    const { body, headers } = request
    const { id } = request.params
    const artist = await recordChange(sql, request, recorded('artist.update', id), async (tx) => {
      const table = artistsOf(tx)
      const before = await table.lock(id)
      return { before, after: await table.update(id, body, readIfMatch(headers['if-match'])) }
    })
    return reply.header('etag', etagOf(artist)).send(artist)
  })

  app.delete('/:id', removal, async (request, reply) => {
    const { id } = request.params
    await recordChange<object>(sql, request, recorded('artist.delete', id), async (tx) => {
      const table = artistsOf(tx)
      const before = await table.lock(id)
      await table.remove(id, readIfMatch(request.headers['if-match']))
      return { before, after: {} }
    })
    return reply.code(204).send(null)
  })
}
