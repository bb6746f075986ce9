/** The service: what it stands on, the plugins in their order, and what it serves. */
import { auditLog } from '@parapet/audit-log'
import { fieldEncryption } from '@parapet/field-encryption'
import { problemErrorHandler, type Clock, type SqlClient } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import { rbac } from '@parapet/rbac'
import { securityHeaders } from '@parapet/security-headers'
import { sessions } from '@parapet/sessions'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { artists } from './artists/routes.ts'
import { auditRoutes, createAuditOptions } from './audit.ts'
import type { Config } from './config.ts'
import { content } from './content/routes.ts'
import { database } from './database.ts'
import { events } from './events.ts'
import { createFieldEncryptionOptions } from './field-encryption.ts'
import { createHeadersOptions } from './headers.ts'
import { makeFirstAdmin } from './first-admin.ts'
import { health } from './health.ts'
import { withKeptKeys } from './kept-keys.ts'
import { createLog } from './logging.ts'
import { createMfaOptions } from './mfa.ts'
import { methods } from './methods.ts'
import { openapi } from './openapi.ts'
import { rbacOptions } from './policy.ts'
import { createServerOptions } from './server-options.ts'
import { createSessionsOptions } from './sessions.ts'
import { drain } from './shutdown.ts'
import { store } from './store.ts'
import { users } from './users/routes.ts'

/** What a test may hand over. */
export interface Ports {
  /** @default JSON lines on the standard output */
  readonly log?: FastifyBaseLogger
  /** A database that is open already. @default what the configuration says */
  readonly sql?: SqlClient
  /** @default the machine's clock */
  readonly clock?: Clock
}

/** Builds the service, ready to listen. What was opened is closed again when a part fails. */
export async function buildApp(config: Config, ports: Ports = {}): Promise<FastifyInstance> {
  const app = Fastify(createServerOptions(config, ports.log ?? createLog(config)))
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
  // Only JSON comes in: a form of another site can send text/plain, but not this.
  app.removeContentTypeParser('text/plain')

  // What everything stands on.
  await app.register(methods)
  await app.register(database, { ...given, sql: ports.sql })
  const embedded = given.databaseUrl === undefined && ports.sql === undefined
  const config = embedded ? await withKeptKeys(given) : given
  await app.register(store, config)
  await app.register(events)
  // It describes what is registered after it, and plugins have routes, too.
  await app.register(openapi)

  // The plugins, in the order of the phases in which a request meets them. Each line below is where
  // the plugin of that phase is registered.
  await app.register(auditLog, await createAuditOptions(app, config)) // record
  await app.register(securityHeaders, createHeadersOptions(config)) // headers
  // containment        anomaly-guard
  // peer-limits        rate-limits
  await app.register(sessions, createSessionsOptions(app, config)) // authentication
  // principal-limits   rate-limits
  await app.register(rbac, rbacOptions) // authorization
  await app.register(mfa, createMfaOptions(app, config)) // step-up
  // input              input-guard
  await app.register(fieldEncryption, createFieldEncryptionOptions(app, config)) // masking
  // masking            privacy
  // reaction           incident-response

  // What is served.
  await app.register(drain)
  await app.register(health, ports)
  await app.register(app.audit.routes, auditRoutes)
  await app.register(users, { prefix: '/users' })
  await app.register(content, { prefix: '/content' })
  await app.register(artists, { prefix: '/artists', keepsFields: config.fieldKeyset !== undefined })

  await makeFirstAdmin(app, config, embedded)
}
