/** The same features put together from the usual libraries. */
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import { newEnforcer, newModelFromString, StringAdapter } from 'casbin'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { usualModel, usualPolicy } from './fixtures.ts'
import {
  addRoute,
  issuer,
  LIMIT,
  origins,
  pem,
  pool,
  publicPem,
  user,
  WINDOW_MS,
  type Setup,
} from './shared.ts'

export async function addUsualHeaders(app: FastifyInstance): Promise<void> {
  await app.register(fastifyHelmet)
  await app.register(fastifyCors, { origin: origins, credentials: true })
}

/** Adds the verification of tokens. @returns a token */
export async function addJwt(app: FastifyInstance, cache: boolean): Promise<string> {
  await app.register(fastifyJwt, {
    secret: { private: pem, public: publicPem },
    sign: { algorithm: 'RS256', expiresIn: '1h' },
    verify: { algorithms: ['RS256'], allowedIss: issuer, allowedAud: issuer, cache },
  })
  app.addHook('onRequest', async (request) => void (await request.jwtVerify()))
  return app.jwt.sign({ ...user, sub: user.id, iss: issuer, aud: issuer })
}

/** helmet, cors, rate-limit, jwt, casbin and one awaited INSERT for each request. */
export async function usual(cache: boolean): Promise<Setup> {
  const app = Fastify()
  await addUsualHeaders(app)
  await app.register(fastifyRateLimit, { max: LIMIT, timeWindow: WINDOW_MS })
  const token = await addJwt(app, cache)
  const enforcer = await newEnforcer(newModelFromString(usualModel), new StringAdapter(usualPolicy))
  await pool.query(
    'CREATE TABLE IF NOT EXISTS usual_audit (id bigserial primary key, at timestamptz default now(), event jsonb)',
  )
  app.addHook('onRequest', async (request, reply) => {
    const { roles } = request.user as typeof user
    const allowed = await Promise.all(
      roles.map(async (role) => enforcer.enforce(role, 'orders', 'read')),
    )
    if (!allowed.includes(true)) await reply.code(403).send()
  })
  app.addHook('onSend', async (request, reply, payload) => {
    await pool.query('INSERT INTO usual_audit (event) VALUES ($1)', [
      eventOf(request, reply.statusCode),
    ])
    return payload
  })
  addRoute(app)
  return { app, token }
}

function eventOf(request: FastifyRequest, status: number): string {
  const { id, ip, method, routeOptions, headers } = request
  const principal = (request.user as typeof user).id
  const agent = headers['user-agent']
  const event = { action: 'order.read', principal, id, ip, method, agent, status }
  return JSON.stringify({ ...event, url: routeOptions.url })
}
