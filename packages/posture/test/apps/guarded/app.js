// A todo service with helmet, jwt and rate-limit, built by a factory.
import { randomBytes, randomUUID, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import helmet from '@fastify/helmet'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import todos from './routes/todos.js'

const derive = promisify(scrypt)

export async function buildApp({ jwtSecret = randomBytes(32).toString('base64') } = {}) {
  const app = Fastify({
    logger: { level: 'warn', redact: ['req.headers.authorization'] },
    requestTimeout: 30_000,
  })
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
  })
  await app.register(rateLimit, { global: true, max: 100, timeWindow: '1 minute' })
  await app.register(jwt, { secret: jwtSecret, sign: { expiresIn: '15m' } })

  app.setErrorHandler((error, request, reply) => {
    request.log.error({ err: error })
    const status = error.statusCode >= 400 && error.statusCode < 500 ? error.statusCode : 500
    reply.code(status).send({ error: status === 500 ? 'Internal error' : error.message })
  })
  app.addHook('onSend', async (request, reply) => {
    reply.header('cache-control', 'no-store')
  })
  app.decorate('authenticate', async (request, reply) => {
    try {
      await request.jwtVerify()
    } catch {
      return reply.code(401).send({ error: 'Log in first' })
    }
  })

  const users = new Map()
  const credentials = {
    type: 'object',
    additionalProperties: false,
    required: ['email', 'password'],
    properties: {
      email: { type: 'string', format: 'email', maxLength: 254 },
      password: { type: 'string', minLength: 12, maxLength: 128 },
    },
  }
  const strict = { rateLimit: { max: 5, timeWindow: '1 minute' } }

  app.post(
    '/register',
    {
      config: strict,
      schema: {
        body: credentials,
        response: { 201: { type: 'object', properties: { id: { type: 'string' } } } },
      },
    },
    async (request, reply) => {
      const salt = randomBytes(16)
      const user = { id: randomUUID(), salt, hash: await derive(request.body.password, salt, 32) }
      users.set(request.body.email, user)
      return reply.code(201).send({ id: user.id })
    },
  )

  const dummy = { salt: randomBytes(16), hash: randomBytes(32) }
  app.post(
    '/login',
    {
      config: strict,
      schema: {
        body: credentials,
        response: { 200: { type: 'object', properties: { token: { type: 'string' } } } },
      },
    },
    async (request, reply) => {
      const user = users.get(request.body.email) ?? dummy
      const hash = await derive(request.body.password, user.salt, 32)
      if (!timingSafeEqual(hash, user.hash))
        return reply.code(401).send({ error: 'Wrong address or password' })
      return { token: app.jwt.sign({ sub: user.id }) }
    },
  )

  app.get(
    '/health',
    { schema: { response: { 200: { type: 'object', properties: { ok: { type: 'boolean' } } } } } },
    async () => ({ ok: true }),
  )
  await app.register(todos, { prefix: '/todos' })
  return app
}
