/** Composes the service: storage, then the plugins in the order of their phases, then the routes. */
import { anomalyGuard } from '@parapet/anomaly-guard'
import { auditLog } from '@parapet/audit-log'
import { fieldEncryption } from '@parapet/field-encryption'
import { connectionGuard, inputGuard, jsonGuard } from '@parapet/input-guard'
import { problemErrorHandler, type Clock, type SqlClient } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import { rateLimits } from '@parapet/rate-limits'
import { rbac } from '@parapet/rbac'
import { securityHeaders } from '@parapet/security-headers'
import { secrets } from '@parapet/secrets'
import { sessions } from '@parapet/sessions'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { createFirstAdmin } from './access/first-admin.ts'
import { artists } from './artists/routes.ts'
import type { Config } from './config/environment.ts'
import { withSavedKeys } from './config/saved-keys.ts'
import { content } from './content/routes.ts'
import { hostHeader } from './http/host-header.ts'
import { ids } from './http/ids.ts'
import { methodNotAllowed } from './http/method-not-allowed.ts'
import { openapi } from './http/openapi.ts'
import { retryAfter } from './http/retry-after.ts'
import { createServerOptions } from './http/server-options.ts'
import { createLog, guardLog } from './logging/log.ts'
import { securityEventLog } from './logging/security-events.ts'
import { health } from './operation/health.ts'
import { closeConnections } from './operation/shutdown.ts'
import { createAnomalyOptions, watchPluginRoutes } from './plugins/anomaly-guard.ts'
import { auditPluginRoutes, auditRoutes, createAuditOptions } from './plugins/audit-log.ts'
import { createFieldEncryptionOptions } from './plugins/field-encryption.ts'
import { createMfaOptions } from './plugins/mfa.ts'
import { createRateLimitsOptions } from './plugins/rate-limits.ts'
import { rbacOptions } from './plugins/rbac.ts'
import { createInputGuardOptions } from './plugins/input-guard.ts'
import { createHeadersOptions } from './plugins/security-headers.ts'
import { createSecretsOptions, followSigningKey, isFollowed } from './plugins/secrets.ts'
import { createSessionsOptions } from './plugins/sessions.ts'
import { security } from './security/routes.ts'
import { database } from './storage/database.ts'
import { sharedStore } from './storage/shared-store.ts'
import { users } from './users/routes.ts'

/** Dependencies that a test can replace. */
export interface Ports {
  /** @default JSON lines on the standard output */
  readonly log?: FastifyBaseLogger
  /** A database that is already open. @default the database of the configuration */
  readonly sql?: SqlClient
  /** @default the system clock */
  readonly clock?: Clock
}

/** Builds the service, ready to listen. If a part fails, everything that was opened is closed. */
export async function buildApp(config: Config, ports: Ports = {}): Promise<FastifyInstance> {
  const app = Fastify(createServerOptions(config, ports.log ?? createLog(config), ports.clock))
  try {
    await compose(app, config, ports)
    await app.ready()
  } catch (error) {
    await app.close()
    throw error
  }
  return app
}

async function compose(app: FastifyInstance, given: Config, ports: Ports): Promise<void> {
  app.setErrorHandler(problemErrorHandler)
  // Accepts JSON only: an HTML form on another site can send text/plain, but not JSON.
  app.removeContentTypeParser('text/plain')

  // First, because no later hook may run for a request that has to wait.
  await app.register(connectionGuard)
  // Before the plugins, so that it guards the bodies of their routes, too.
  await app.register(jsonGuard)
  await app.register(ids)

  // Storage and what every later part needs.
  await app.register(secrets, createSecretsOptions(given))
  guardLog(app.log, app.secrets.leaks)
  await app.register(methodNotAllowed)
  await app.register(retryAfter)
  const isUrlFollowed = isFollowed(given, 'DATABASE_URL')
  await app.register(database, { ...given, sql: ports.sql, isUrlFollowed })
  const embedded = given.databaseUrl === undefined && ports.sql === undefined
  const config = embedded ? await withSavedKeys(given) : given
  await app.register(sharedStore, config)
  await app.register(securityEventLog)
  // Before the plugins, because it describes only routes that are registered after it.
  await app.register(openapi)

  // The plugins, in the order of the phases in which they see a request.
  auditPluginRoutes(app)
  watchPluginRoutes(app)
  await app.register(auditLog, createAuditOptions(app, config)) // record
  await app.register(securityHeaders, createHeadersOptions(config)) // headers
  await app.register(hostHeader)
  await app.register(anomalyGuard, createAnomalyOptions(app, config)) // containment
  await app.register(rateLimits, createRateLimitsOptions(app, config)) // peer-limits
  await app.register(sessions, createSessionsOptions(app, config)) // authentication
  followSigningKey(app, config, ports.clock)
  await app.register(rbac, rbacOptions) // authorization
  await app.register(mfa, createMfaOptions(app, config)) // step-up
  await app.register(inputGuard, createInputGuardOptions(ports)) // input
  await app.register(fieldEncryption, createFieldEncryptionOptions(app, config)) // masking

  // The routes.
  await app.register(closeConnections, config)
  await app.register(health, ports)
  await app.register(app.audit.routes, auditRoutes)
  await app.register(security, { prefix: '/security' })
  await app.register(users, { prefix: '/users' })
  await app.register(content, { prefix: '/content' })
  const isKeysetSaved = config.fieldKeyset !== undefined
  await app.register(artists, { prefix: '/artists', isKeysetSaved })

  await createFirstAdmin(app, config, embedded)
}
