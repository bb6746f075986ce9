/** How long a check of 200 routes takes: behind a login, with schemas, as a service of middle size has them. */
import { goal } from '@parapet/testing'
import jwt from '@fastify/jwt'
import helmet from '@fastify/helmet'
import { checkPosture, renderTable } from '@parapet/posture'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'

const ROUTES = 200
const ROUNDS = 3
const GOAL_SECONDS = 30

async function createApp(): Promise<FastifyInstance> {
  const app = Fastify({ requestTimeout: 10_000 })
  await app.register(helmet)
  await app.register(jwt, {
    secret: randomBytes(32).toString('base64'),
    sign: { expiresIn: '15m' },
  })
  const params = { type: 'object', properties: { id: { type: 'integer', minimum: 1 } } }
  const body = {
    type: 'object',
    additionalProperties: false,
    properties: { title: { type: 'string', maxLength: 100 } },
  }
  app.addHook('onRequest', async (request, reply) => {
    try {
      await request.jwtVerify()
    } catch {
      await reply.code(401).send({ error: 'log in' })
    }
  })
  for (let index = 0; index < ROUTES / 4; index++) {
    const url = `/things-${index}`
    app.get(url, async () => [])
    app.get(`${url}/:id`, { schema: { params } }, async (request) => ({ params: request.params }))
    app.post(url, { schema: { body } }, async (request) => ({ body: request.body }))
    app.delete(`${url}/:id`, { schema: { params } }, async () => null)
  }
  await app.ready()
  return app
}

/** The sources of this package stand for those of a service. */
const project = fileURLToPath(new URL('../', import.meta.url))
const seconds: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  const app = await createApp()
  const start = performance.now()
  const report = await checkPosture(app, { project, environment: {} })
  seconds.push((performance.now() - start) / 1000)
  if (round === 0) {
    console.log(renderTable(report).split('\n').slice(-4).join('\n'))
    goal('posture-routes', report.routes, ROUTES, 'at-least')
  }
  await app.close()
}
const median = seconds.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)]!
console.log(`${ROUTES} routes and the sources of this package: ${median.toFixed(2)} s`)
goal('posture-200-routes-seconds', median, GOAL_SECONDS)
