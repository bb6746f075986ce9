/** One server of the benchmark, by name: bare Fastify, the usual libraries, or plugins of this family. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import fastifyJwt from '@fastify/jwt'
import { auditLog } from '@parapet/audit-log'
import { createSqlClient } from '@parapet/kit'
import { definePolicy, rbac } from '@parapet/rbac'
import { securityHeaders } from '@parapet/security-headers'
import { generateSecret, sessions } from '@parapet/sessions'
import { serveMeasured } from '@parapet/testing'
import { newEnforcer, newModelFromString, StringAdapter } from 'casbin'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { Pool } from 'pg'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config/environment.ts'
import { createArtists } from '../../src/artists/repository.ts'
import { Artist, artistRoutes } from '../../src/artists/schemas.ts'
import { ARTIST_PAGE, usualModel, usualPolicy } from './fixtures.ts'

const [name = 'bare', databaseUrl = ''] = process.argv.slice(2)
const issuer = 'https://api.example.com'
const origins = ['https://app.example.com']
const directory = mkdtempSync(join(tmpdir(), 'parapet-bench-'))
const pool = new Pool({ connectionString: databaseUrl, max: 10 })
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** A route of the server, and the token that its clients send. */
interface Setup {
  readonly app: FastifyInstance
  readonly token?: string
}

const user = { id: 'user-1', roles: ['reader'] }
const policy = definePolicy({
  permissions: ['orders:read'],
  roles: { reader: { grants: ['orders:read'] } },
})

function addRoute(app: FastifyInstance, config: object = {}): void {
  app.get('/', { config }, async () => ({ id: 'order-1', total: 1299 }))
}

async function addHeaders(app: FastifyInstance): Promise<void> {
  await app.register(securityHeaders, { cors: { origins, credentials: true } })
}

async function addSessions(app: FastifyInstance, tokenCacheBytes?: number): Promise<void> {
  const secrets = [generateSecret()]
  const cache = tokenCacheBytes === undefined ? {} : { tokenCacheBytes }
  await app.register(sessions, {
    issuer,
    audience: issuer,
    keys: { current: { pem } },
    secrets,
    ...cache,
  })
}

async function addAudit(app: FastifyInstance): Promise<void> {
  const sql = createSqlClient(pool)
  await app.register(auditLog, { origin: 'example.org/bench', directory, sql })
}

async function addJwt(app: FastifyInstance, cache: boolean): Promise<string> {
  const publicKey = createPublicKey(createPrivateKey(pem))
  const spki = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  await app.register(fastifyJwt, {
    secret: { private: pem, public: spki },
    sign: { algorithm: 'RS256', expiresIn: '15m' },
    verify: { algorithms: ['RS256'], allowedIss: issuer, allowedAud: issuer, cache },
  })
  app.addHook('onRequest', async (request) => void (await request.jwtVerify()))
  return app.jwt.sign({ ...user, sub: user.id, iss: issuer, aud: issuer })
}

/** helmet, cors, jwt, casbin and one awaited INSERT for each request. */
async function usual(cache: boolean): Promise<Setup> {
  const app = Fastify()
  await app.register(fastifyHelmet)
  await app.register(fastifyCors, { origin: origins, credentials: true })
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
  return JSON.stringify({
    action: 'order.read',
    principal,
    id,
    ip,
    method,
    url: routeOptions.url,
    agent,
    status,
  })
}

async function ours(tokenCacheBytes?: number): Promise<Setup> {
  const app = Fastify()
  await addAudit(app)
  await addHeaders(app)
  await addSessions(app, tokenCacheBytes)
  await app.register(rbac, { policy })
  addRoute(app, { audit: 'order.read', rbac: 'orders:read' })
  await app.ready()
  return { app, token: (await app.sessions.start(user)).accessToken }
}

const setups: Readonly<Record<string, () => Promise<Setup>>> = {
  async bare() {
    const app = Fastify()
    addRoute(app)
    return { app }
  },
  async helmet() {
    const app = Fastify()
    await app.register(fastifyHelmet)
    await app.register(fastifyCors, { origin: origins, credentials: true })
    addRoute(app)
    return { app }
  },
  async 'security-headers'() {
    const app = Fastify()
    await addHeaders(app)
    addRoute(app)
    return { app }
  },
  async rbac() {
    const app = Fastify()
    await app.register(rbac, { policy, principal: () => user })
    addRoute(app, { rbac: 'orders:read' })
    return { app }
  },
  async 'audit-log'() {
    const app = Fastify()
    await addAudit(app)
    addRoute(app, { audit: 'order.read' })
    return { app }
  },
  async jwt() {
    const app = Fastify()
    const token = await addJwt(app, false)
    addRoute(app)
    return { app, token }
  },
  async 'jwt-cache'() {
    const app = Fastify()
    const token = await addJwt(app, true)
    addRoute(app)
    return { app, token }
  },
  async sessions() {
    const app = Fastify()
    await addSessions(app)
    addRoute(app)
    await app.ready()
    return { app, token: (await app.sessions.start(user)).accessToken }
  },
  usual: () => usual(false),
  'usual-jwt-cache': () => usual(true),
  family: () => ours(),
  'family-first-token': () => ours(0),
  async 'bare-artists'() {
    const app = Fastify()
    app.addSchema(Artist)
    app.get('/', { schema: { response: { 200: artistRoutes.list.response[200] } } }, async () => {
      const { rows } = await pool.query(ARTIST_PAGE.text, [...ARTIST_PAGE.values])
      return { items: rows.slice(0, 20) }
    })
    return { app }
  },
  async artists() {
    const app = await buildApp(
      readConfig({
        DATABASE_URL: databaseUrl,
        DATA_DIR: directory,
        LOG_LEVEL: 'fatal',
        AUDIT_DIR: directory,
        TRUST_PROXY: '127.0.0.1/32',
      }),
    )
    await app.sql.query('DELETE FROM artists')
    const { sql, fieldEncryption, log } = app
    const repository = createArtists({ sql, fieldEncryption, isKeysetSaved: true, log })
    for (let n = 0; n < 25; n++) {
      const phone = `+4930${String(n).padStart(8, '0')}`
      await repository.insert({
        name: `Artist ${n}`,
        genres: ['rock'],
        hourlyRateMinor: 12_000,
        currency: 'EUR',
        phone,
      })
    }
    return { app }
  },
}

const { app, token = '' } = await setups[name]!()
await app.listen({ port: 0, host: '127.0.0.1' })
serveMeasured((app.server.address() as AddressInfo).port, token, async () => {
  await app.close()
  await pool.end()
  rmSync(directory, { recursive: true, force: true })
})
