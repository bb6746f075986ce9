/** Composes the service: storage, then the plugins in the order of their phases, then the routes. */
import { anomalyGuard } from '@parapet/anomaly-guard'
import { auditLog } from '@parapet/audit-log'
import { fieldEncryption } from '@parapet/field-encryption'
import { connectionGuard, inputGuard, jsonGuard } from '@parapet/input-guard'
import { incidentResponse } from '@parapet/incident-response'
import { problemErrorHandler, type Clock, type Jobs, type SqlClient } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import { privacy, type PrivacyOptions } from '@parapet/privacy'
import { rateLimits } from '@parapet/rate-limits'
import { rbac } from '@parapet/rbac'
import { securityHeaders } from '@parapet/security-headers'
import { secrets } from '@parapet/secrets'
import { sessions } from '@parapet/sessions'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { createFirstUsers } from './access/first-users.ts'
import { analytics } from './analytics/routes.ts'
import { artists } from './artists/routes.ts'
import { bookings } from './bookings/routes.ts'
import type { Config } from './config/environment.ts'
import { withSavedKeys } from './config/saved-keys.ts'
import { accountPages } from './console/account-pages.ts'
import { openConsoleBundle } from './console/bundle.ts'
import { consolePage } from './console/page.ts'
import { consoleRecorder } from './console/recorder.ts'
import { consoleApi } from './console/routes.ts'
import { content } from './content/routes.ts'
import { dataExport } from './export/routes.ts'
import { files } from './files/routes.ts'
import { API } from './http/api.ts'
import { documentation } from './http/documentation.ts'
import { hostHeader } from './http/host-header.ts'
import { ids } from './http/ids.ts'
import { methodNotAllowed } from './http/method-not-allowed.ts'
import { openapi } from './http/openapi.ts'
import { problemBodies } from './http/problem-bodies.ts'
import { requiredHeaders } from './http/required-headers.ts'
import { createServerOptions } from './http/server-options.ts'
import { createLog, guardLog } from './logging/log.ts'
import { securityEventLog } from './logging/security-events.ts'
import { metrics } from './metrics/metrics.ts'
import { metricsRoute } from './metrics/route.ts'
import { health } from './operation/health.ts'
import { jobs } from './operation/jobs.ts'
import { loadShedding } from './operation/load-shedding.ts'
import { closeConnections } from './operation/shutdown.ts'
import { versionRoute } from './operation/version.ts'
import type { SendMail } from './mail/transport.ts'
import { createAnomalyOptions, watchPluginRoutes } from './plugins/anomaly-guard.ts'
import { auditPluginRoutes, auditRoutes, createAuditOptions } from './plugins/audit-log.ts'
import { createFieldEncryptionOptions } from './plugins/field-encryption.ts'
import { createIncidentOptions, incidentRoutes } from './plugins/incident-response.ts'
import { createMfaOptions } from './plugins/mfa.ts'
import { createPrivacyOptions, strengthenPrivacyRoutes } from './plugins/privacy.ts'
import { createRateLimitsOptions } from './plugins/rate-limits.ts'
import { createRbacOptions } from './plugins/rbac.ts'
import { createInputGuardOptions } from './plugins/input-guard.ts'
import { createHeadersOptions } from './plugins/security-headers.ts'
import {
  createSecretsOptions,
  followedSecrets,
  followSigningKey,
  isFollowed,
} from './plugins/secrets.ts'
import { createSessionsOptions, resealLocks } from './plugins/sessions.ts'
import { partnerProfiles } from './privacy/routes.ts'
import { security } from './security/routes.ts'
import { settings } from './settings/routes.ts'
import { database } from './storage/database.ts'
import { sharedStore } from './storage/shared-store.ts'
import { telemetry } from './tracing/telemetry.ts'
import { users } from './users/routes.ts'
import { venues } from './venues/routes.ts'

/** Dependencies that a test can replace. */
export interface Ports {
  /** @default JSON lines on the standard output */
  readonly log?: FastifyBaseLogger
  /** A database that is already open. @default the database of the configuration */
  readonly sql?: SqlClient
  /** @default SMTP, or files in the outbox */
  readonly sendMail?: SendMail
  /** @default the system clock */
  readonly clock?: Clock
  /** Sends messages about data requests, also tokens. @default mail without tokens: requests need a fresh login */
  readonly deliver?: PrivacyOptions['deliver']
  /** Runs the jobs, at `app.jobs`. @default pg-boss, or memory if `sql` is given */
  readonly jobs?: Jobs
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

  await app.register(telemetry, given)
  // First, because no later hook may run for a request that has to wait.
  await app.register(connectionGuard)
  // Before the plugins, so that it guards the bodies of their routes, too.
  await app.register(jsonGuard)
  await app.register(ids)

  // Storage and what every later part needs.
  await app.register(secrets, createSecretsOptions(given))
  guardLog(app.log, app.secrets.leaks)
  await app.register(methodNotAllowed)
  await app.register(requiredHeaders)
  await app.register(problemBodies)
  const isUrlFollowed = isFollowed(given, 'DATABASE_URL')
  await app.register(database, { ...given, sql: ports.sql, isUrlFollowed })
  const embedded = given.databaseUrl === undefined && ports.sql === undefined
  const config = embedded ? await withSavedKeys(given) : given
  await app.register(jobs, { durable: ports.sql === undefined, jobs: ports.jobs })
  await app.register(sharedStore, config)
  await app.register(securityEventLog)
  await app.register(metrics)
  await app.register(consoleRecorder, {
    clock: ports.clock,
    isFleet: config.redisUrl !== undefined,
  })
  // Before the plugins, because it describes only routes that are registered after it.
  await app.register(openapi)

  // The plugins, in the order of the phases in which they see a request.
  auditPluginRoutes(app)
  watchPluginRoutes(app)
  strengthenPrivacyRoutes(app)
  await app.register(auditLog, createAuditOptions(app, config)) // record
  await app.register(securityHeaders, createHeadersOptions(config, ports)) // headers
  await app.register(hostHeader)
  await app.register(loadShedding, config)
  await app.register(anomalyGuard, createAnomalyOptions(app, config, ports)) // containment
  await app.register(rateLimits, createRateLimitsOptions(app, config)) // peer-limits
  await app.register(sessions, createSessionsOptions(app, config, ports.sendMail)) // authentication
  followSigningKey(app, config, ports.clock)
  await app.register(rbac, await createRbacOptions(app.sql)) // authorization
  await app.register(mfa, createMfaOptions(app, config)) // step-up
  await app.register(privacy, createPrivacyOptions(app, config, ports)) // step-up
  await app.register(inputGuard, createInputGuardOptions(ports)) // input
  await app.register(fieldEncryption, createFieldEncryptionOptions(app, config)) // masking
  await app.register(incidentResponse, createIncidentOptions(app, config, ports)) // reaction

  await addRoutes(app, config, ports)
  await createFirstUsers(app, config, embedded)
  await resealLocks(app, config)
}

/** The routes of operation, then those of the API and of the console. */
async function addRoutes(app: FastifyInstance, config: Config, ports: Ports): Promise<void> {
  await app.register(closeConnections, config)
  await app.register(health, ports)
  await app.register(versionRoute, config)
  await app.register(metricsRoute, config)
  await app.register(documentation)
  const isKeysetSaved = config.fieldKeyset !== undefined
  await app.register(app.audit.routes, auditRoutes)
  await app.register(security, { prefix: `${API}/security` })
  await app.register(app.incidents.routes, { ...incidentRoutes, prefix: `${API}/incidents` })
  await app.register(users, { prefix: `${API}/users` })
  await app.register(settings, { prefix: `${API}/settings` })
  await app.register(partnerProfiles, { prefix: `${API}/users` })
  await app.register(content, { prefix: `${API}/content` })
  await app.register(artists, { prefix: `${API}/artists`, isKeysetSaved })
  await app.register(venues, { prefix: `${API}/venues` })
  await app.register(bookings, { prefix: `${API}/bookings` })
  await app.register(files, { prefix: `${API}/files`, filesDir: config.filesDir })
  await app.register(analytics, { prefix: `${API}/analytics` })
  await app.register(dataExport, { prefix: `${API}/export`, isKeysetSaved })
  const secretNames = followedSecrets(config)
  await app.register(consoleApi, { prefix: `${API}/console`, secretNames, clock: ports.clock })
  const pages = { bundle: await openConsoleBundle(), apiPrefix: API }
  await app.register(consolePage, pages)
  await app.register(accountPages, pages)
}
