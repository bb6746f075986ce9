/**
 * What a path answers to a method it does not have: which it has, rather than that it is not there.
 * Replaces the handler of what is not found.
 *
 * @see RFC 9110, sections 9.3.7 and 15.5.6
 */
import { problemNotFoundHandler } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import { PARAPET_REFERENCE_METHOD_NOT_ALLOWED } from './errors.ts'

const METHODS: readonly HTTPMethod[] = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT']

async function methodsPlugin(app: FastifyInstance): Promise<void> {
  // Fastify's own router finds a path only together with its method.
  const router = findMyWay()
  app.addHook('onRoute', ({ url, method }) => {
    const own = METHODS.filter((name) => [method].flat().includes(name))
    if (own.length > 0) router.on(own, url, () => {})
  })
  app.setNotFoundHandler((request, reply) => {
    const methods = METHODS.filter((method) => router.find(method, request.url) !== null)
    if (methods.length === 0) return problemNotFoundHandler(request, reply)
    void reply.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (request.method !== 'OPTIONS') throw new PARAPET_REFERENCE_METHOD_NOT_ALLOWED()
    void reply.code(204).send()
  })
}

/** Hears of the routes that are registered after it. */
export const methods = fp(methodsPlugin, { name: 'methods', fastify: '5.x' })
