/** The options of `@parapet/audit-log`: its key and spool, and who may read it. */
import {
  ephemeralDirectory,
  type AuditLogOptions,
  type AuditRoutesOptions,
} from '@parapet/audit-log'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'

/**
 * The instances share one log in the database, and one key. Without `AUDIT_KEY`, the key is in the folder
 * of the spool. Without both, the log is in a temporary folder, which is deleted on close.
 */
export function createAuditOptions(app: FastifyInstance, config: Config): AuditLogOptions {
  const origin = `${new URL(config.publicUrl).host}/audit`
  const { auditDir: directory, auditKey: pem } = config
  if (directory !== undefined) {
    return { origin, directory, sql: app.sql, ...(pem !== undefined && { key: { pem } }) }
  }
  app.log.warn(
    'audit-log writes to a temporary folder; records are lost on restart. Set AUDIT_KEY or AUDIT_DIR.',
  )
  // Without the key no later process could continue the log, so it is not written to the database.
  return { origin, directory: ephemeralDirectory }
}

/** Routes of plugins that emit no event, or one that does not name the request. */
const pluginRoutes: Readonly<Record<string, string>> = {
  'DELETE /auth/sessions': 'session.end_others',
  'PATCH /mfa/passkeys/:id': 'passkey.rename',
}

/** Gives routes of other plugins an audit rule. Call it before the audit log is registered. */
export function auditPluginRoutes(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const audit = pluginRoutes[`${String(route.method)} ${route.url}`]
    if (audit !== undefined) route.config = { ...route.config, audit }
  })
}

/** The routes under `/audit` require the permission `audit:read`. */
export const auditRoutes: AuditRoutesOptions & { readonly prefix: string } = {
  prefix: '/audit',
  guard: (request) => request.rbac.can('audit:read'),
}
