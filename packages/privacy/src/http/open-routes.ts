/** Routes without a login: a token, a link or a signature is the proof. */
import type { FastifyInstance } from 'fastify'
import type { RequestType } from '../requests/request.ts'
import { openArchive } from '../service/archive-link.ts'
import { confirmRequest, requestByContact } from '../service/open-request.ts'
import { answerProcessor } from '../service/privacy.ts'
import { createContactLimit } from './contact-limit.ts'
import type { RouteParts } from './route-tools.ts'
import { openRoutes as routes } from './schemas.ts'
import { viewOfRequest } from './views.ts'

/** Adds the routes. */
export function addOpenRoutes(app: FastifyInstance, { context, privacy }: RouteParts): void {
  const limitContacts = createContactLimit(context)
  app.post<{ Body: { type: RequestType; contact: string } }>(
    '/requests/by-contact',
    { ...routes.byContact, preHandler: limitContacts },
    async (request, reply) => {
      await requestByContact(context, request.body.type, request.body.contact)
      return reply.code(202).send({ accepted: true })
    },
  )
  app.post<{ Body: { token: string } }>('/requests/confirm', routes.confirm, async (request) =>
    viewOfRequest(await confirmRequest(context, request.body.token, request)),
  )
  app.post<{ Body: { link: string } }>('/archives', routes.archive, async (request, reply) => {
    const { request: id, stream } = await openArchive(context, request.body.link)
    let bytes = 0
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
    stream.on('end', () => context.emit('privacy.archive_sent', { request: id, bytes }, request))
    // Back-pressure: the listener above would let the stream flow.
    stream.pause()
    reply.header('content-disposition', `attachment; filename="data-${id}.zip"`)
    reply.type('application/zip')
    return reply.send(stream)
  })
  app.get('/keys', routes.keys, async () => ({ keys: [privacy.publicKey] }))
}

/** Adds the route of processors, whose signature covers the bytes of the body. */
export function addAnswerRoute(app: FastifyInstance, { context }: RouteParts): void {
  const bodies = new WeakMap<object, string>()
  if (app.hasContentTypeParser('application/json')) app.removeContentTypeParser('application/json')
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string', bodyLimit: 4096 },
    (request, body, done) => {
      bodies.set(request, body as string)
      try {
        done(null, JSON.parse(body as string))
      } catch {
        done(Object.assign(new Error('The body is not JSON'), { statusCode: 400 }))
      }
    },
  )
  app.post<{ Params: { name: string } }>(
    '/processors/:name/answers',
    routes.answer,
    async (request, reply) => {
      const { headers, params } = request
      const body = bodies.get(request) ?? ''
      await answerProcessor(context, { name: params.name, headers, body })
      return reply.code(204).send(null)
    },
  )
}
