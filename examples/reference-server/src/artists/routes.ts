/** `/artists`: the artists of the booking platform. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { createArtists, type ArtistPorts } from './repository.ts'
import { Artist, artistRoutes } from './schemas.ts'

const publicRead = { rbac: { public: 'the booking site lists its artists publicly' } } as const

const creation = {
  schema: artistRoutes.create,
  config: { audit: 'artist.create', rbac: 'artists:write' },
} as const
const change = {
  schema: artistRoutes.change,
  config: { audit: 'artist.update', rbac: 'artists:write' },
} as const
const removal = {
  schema: artistRoutes.remove,
  config: { audit: 'artist.delete', rbac: 'artists:write' },
} as const

/** The routes of artists. */
export const artists: FastifyPluginAsyncTypebox<Pick<ArtistPorts, 'isKeysetSaved'>> = async (
  app,
  { isKeysetSaved },
) => {
  const { sql, fieldEncryption, log } = app
  const repository = createArtists({ sql, fieldEncryption, isKeysetSaved, log })
  app.addSchema(Artist)

  app.post('', creation, async (request, reply) => {
    const artist = await repository.insert(request.body)
    const location = `/artists/${artist.id}`
    return reply
      .code(201)
      .headers({ location, etag: etagOf(artist) })
      .send(artist)
  })

  app.get('', { schema: artistRoutes.list, config: publicRead }, (request) =>
    repository.list(request.query),
  )

  app.get('/:id', { schema: artistRoutes.get, config: publicRead }, async (request, reply) => {
    const artist = await repository.find(request.params.id)
    return reply.header('etag', etagOf(artist)).send(artist)
  })

  app.patch('/:id', change, async (request, reply) => {
    const versions = readIfMatch(request.headers['if-match'])
    const artist = await repository.update(request.params.id, request.body, versions)
    return reply.header('etag', etagOf(artist)).send(artist)
  })

  app.delete('/:id', removal, async (request, reply) => {
    await repository.remove(request.params.id, readIfMatch(request.headers['if-match']))
    return reply.code(204).send(null)
  })
}
