/** `/artists`: whom the booking platform offers. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { etagOf, readIfMatch } from '../etag.ts'
import { createArtists, type ArtistPorts } from './repository.ts'
import { Artist, artistRoutes } from './schemas.ts'

const open = { rbac: { public: 'a booking site shows its artists to everybody' } } as const

/** The routes of artists. */
export const artists: FastifyPluginAsyncTypebox<Pick<ArtistPorts, 'keepsFields'>> = async (
  app,
  { keepsFields },
) => {
  const { sql, fieldEncryption } = app
  const repository = createArtists({ sql, fieldEncryption, keepsFields })
  app.addSchema(Artist)

  app.post(
    '',
    { schema: artistRoutes.create, config: { audit: 'artist.create', rbac: 'artists:write' } },
    async (request, reply) => {
      const artist = await repository.insert(request.body)
      const location = `/artists/${artist.id}`
      return reply
        .code(201)
        .headers({ location, etag: etagOf(artist) })
        .send(artist)
    },
  )

  app.get('', { schema: artistRoutes.list, config: open }, (request) =>
    repository.list(request.query),
  )

  app.get('/:id', { schema: artistRoutes.get, config: open }, async (request, reply) => {
    const artist = await repository.find(request.params.id)
    return reply.header('etag', etagOf(artist)).send(artist)
  })

  app.patch(
    '/:id',
    { schema: artistRoutes.change, config: { audit: 'artist.update', rbac: 'artists:write' } },
    async (request, reply) => {
      const versions = readIfMatch(request.headers['if-match'])
      const artist = await repository.update(request.params.id, request.body, versions)
      return reply.header('etag', etagOf(artist)).send(artist)
    },
  )

  app.delete(
    '/:id',
    { schema: artistRoutes.remove, config: { audit: 'artist.delete', rbac: 'artists:write' } },
    async (request, reply) => {
      await repository.remove(request.params.id, readIfMatch(request.headers['if-match']))
      return reply.code(204).send(null)
    },
  )
}
