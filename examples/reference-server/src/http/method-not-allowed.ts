/**
 * Responds with 405 and `Allow` if the path exists with other methods. Replaces the 404 handler.
 *
 * @see RFC 9110, sections 9.3.7 and 15.5.6
 */
import { problemNotFoundHandler } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import { PARAPET_REFERENCE_METHOD_NOT_ALLOWED } from '../errors.ts'

const METHODS: readonly HTTPMethod[] = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT']

async function methodNotAllowedPlugin(app: FastifyInstance): Promise<void> {
  // A second router, because Fastify's own cannot be asked for a path without a method.
  const router = findMyWay()
  app.addHook('onRoute', ({ url, method }) => {
    const declared = METHODS.filter((name) => [method].flat().includes(name))
    if (declared.length > 0) router.on(declared, url, () => {})
  })
  app.setNotFoundHandler((request, reply) => {
    const methods = METHODS.filter((method) => router.find(method, request.url) !== null)
    // A route that has the method called the 404 handler itself: it has no such file.
    const isMissing = methods.length === 0 || methods.some((method) => method === request.method)
    if (isMissing) return problemNotFoundHandler(request, reply)
    void reply.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (request.method !== 'OPTIONS') throw new PARAPET_REFERENCE_METHOD_NOT_ALLOWED()
    void reply.code(204).send()
  })
}

/** Knows only the routes that are registered after it. */
export const methodNotAllowed = fp(methodNotAllowedPlugin, {
  name: 'method-not-allowed',
  fastify: '5.x',
})
