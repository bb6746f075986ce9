/** The options of `@parapet/audit-log`: where its spool and key are stored, and who may read it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditLogOptions, AuditRoutesOptions } from '@parapet/audit-log'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'

/** Without `AUDIT_DIR` the log is stored in a temporary folder, which is deleted on close. */
export async function createAuditOptions(
  app: FastifyInstance,
  config: Config,
): Promise<AuditLogOptions> {
  const origin = `${new URL(config.publicUrl).host}/audit`
  const { auditDir: directory } = config
  if (directory !== undefined) return { origin, directory, sql: app.sql }
  app.log.warn(
    'audit-log writes to a temporary folder; records are lost on restart. Set AUDIT_DIR.',
  )
  // The signing key is in the folder too. Without the key no later process could continue the log,
  // so the log is not written to the database either.
  const temporary = await mkdtemp(join(tmpdir(), 'audit-'))
  app.addHook('onClose', () => rm(temporary, { recursive: true, force: true }))
  return { origin, directory: temporary }
}

/** The routes under `/audit` require the permission `audit:read`. */
export const auditRoutes: AuditRoutesOptions & { readonly prefix: string } = {
  prefix: '/audit',
  guard: (request) => request.rbac.can('audit:read'),
}
