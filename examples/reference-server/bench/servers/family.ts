/** Plugins of this family: alone, the usual features together, and all of them. */
import { anomalyGuard } from '@parapet/anomaly-guard'
import { auditLog } from '@parapet/audit-log'
import { exportKeyset, fieldEncryption, generateKeyset } from '@parapet/field-encryption'
import { incidentResponse } from '@parapet/incident-response'
import { connectionGuard, guardedSchemas, inputGuard, jsonGuard } from '@parapet/input-guard'
import { createMemoryStore, createSqlClient, generateCipherKey } from '@parapet/kit'
import { createStoreAccounts, mfa } from '@parapet/mfa'
import { privacy } from '@parapet/privacy'
import { rateLimits } from '@parapet/rate-limits'
import { rbac } from '@parapet/rbac'
import { secrets } from '@parapet/secrets'
import { securityHeaders } from '@parapet/security-headers'
import { generateSecret, sessions } from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import {
  addRoute,
  directory,
  issuer,
  LIMIT,
  origins,
  pem,
  policy,
  pool,
  user,
  WINDOW_MS,
  type Setup,
} from './shared.ts'

export async function addHeaders(app: FastifyInstance): Promise<void> {
  await app.register(securityHeaders, { cors: { origins, credentials: true } })
}

export async function addSessions(app: FastifyInstance, tokenCacheBytes?: number): Promise<void> {
  const cache = tokenCacheBytes === undefined ? {} : { tokenCacheBytes }
  const keys = { current: { pem } }
  await app.register(sessions, {
    issuer,
    audience: issuer,
    keys,
    secrets: [generateSecret()],
    // The servers take turns: on a busy machine the last turn comes after the default lifetime.
    accessLifetimeMs: 3_600_000,
    ...cache,
  })
}

export async function addAudit(app: FastifyInstance): Promise<void> {
  const sql = createSqlClient(pool)
  await app.register(auditLog, { origin: 'example.org/bench', directory, sql })
}

async function addLimits(app: FastifyInstance, routes: Record<string, string> = {}): Promise<void> {
  const limits = [{ limit: LIMIT, windowMs: WINDOW_MS }]
  await app.register(rateLimits, { tiers: { standard: { limits }, user: { limits } }, routes })
}

async function withToken(app: FastifyInstance): Promise<Setup> {
  await app.ready()
  return { app, token: (await app.sessions.start(user)).accessToken }
}

/** The features of the usual libraries: headers, CORS, limits, a token, a role, a durable record. */
export async function family(tokenCacheBytes?: number): Promise<Setup> {
  const app = Fastify()
  await addAudit(app)
  await addHeaders(app)
  await addLimits(app)
  await addSessions(app, tokenCacheBytes)
  await app.register(rbac, { policy })
  addRoute(app, { audit: 'order.read', rbac: 'orders:read', rateLimit: 'standard' })
  return withToken(app)
}

/** Every plugin, in the order of the reference server. */
export async function everything(): Promise<Setup> {
  const app = Fastify({ schemaController: guardedSchemas() })
  await app.register(connectionGuard)
  await app.register(jsonGuard)
  await app.register(secrets, { config: {}, environment: 'production' })
  await addAudit(app)
  await addHeaders(app)
  await app.register(anomalyGuard)
  await addLimits(app, { '* /privacy/**': 'standard' })
  await addSessions(app)
  await app.register(rbac, {
    policy,
    routes: { '* /privacy/**': { authenticated: 'own data only' } },
  })
  await app.register(mfa, {
    issuer: 'bench',
    keys: generateCipherKey(),
    accounts: createStoreAccounts(createMemoryStore()),
    roles: { reader: { ifEnrolled: true } },
    routes: false,
  })
  await app.register(privacy, {
    controller: { name: 'Bench', contact: 'privacy@example.com' },
    keys: generateCipherKey(),
    secret: generateSecret(),
    sql: createSqlClient(pool),
    sources: [],
    deliver: async () => {},
  })
  await app.register(inputGuard)
  await app.register(fieldEncryption, { keyset: exportKeyset(generateKeyset()) })
  await app.register(incidentResponse, { sql: createSqlClient(pool), actions: {} })
  addRoute(app, { audit: 'order.read', rbac: 'orders:read', rateLimit: ['standard', 'user'] })
  return withToken(app)
}
