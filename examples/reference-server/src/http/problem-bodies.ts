/**
 * Makes every error body a problem. If a hook fails while an error is sent, Fastify answers with a body of its
 * own: the error handler of an app runs once for a request. @see RFC 9457
 */
import { STATUS_CODES } from 'node:http'
import { problemMediaType, toProblem } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const JSON_TYPE = /^application\/json\b/

async function problemBodiesPlugin(app: FastifyInstance): Promise<void> {
  app.addHook('onSend', (request, reply, payload, done) => {
    const { statusCode } = reply
    if (statusCode < 400) return done()
    if (typeof payload !== 'string' || !payload.startsWith('{')) return done()
    if (!JSON_TYPE.test(String(reply.getHeader('content-type')))) return done()
    const { error, code } = JSON.parse(payload) as Readonly<Record<string, unknown>>
    // A route may describe a state with such a status, as readiness does.
    if (error !== STATUS_CODES[statusCode]) return done()
    const problem = JSON.stringify(toProblem({ statusCode, code }, request.id))
    void reply.type(problemMediaType).header('content-length', Buffer.byteLength(problem))
    done(null, problem)
  })
}

/** Register it before the plugins, so that they see the body that is sent. */
export const problemBodies = fp(problemBodiesPlugin, { name: 'problem-bodies', fastify: '5.x' })
