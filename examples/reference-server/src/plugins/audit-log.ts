/** The audit log: where its spool and key are kept, and who may read it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditLogOptions, AuditRoutesOptions } from '@parapet/audit-log'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'

/** The options of the audit-log plugin in this service. */
export async function createAuditOptions(
  app: FastifyInstance,
  config: Config,
): Promise<AuditLogOptions> {
  const origin = `${new URL(config.publicUrl).host}/audit`
  const { auditDir: directory } = config
  if (directory !== undefined) return { origin, directory, sql: app.sql }
  app.log.warn('AUDIT_DIR is not set: the audit log ends with this process')
  // What a key made at start has signed nobody can continue: then nothing may outlive the process.
  const own = await mkdtemp(join(tmpdir(), 'audit-'))
  app.addHook('onClose', () => rm(own, { recursive: true, force: true }))
  return { origin, directory: own }
}

/** Who may read it is the policy's to say. */
export const auditRoutes: AuditRoutesOptions & { readonly prefix: string } = {
  prefix: '/audit',
  guard: (request) => request.rbac.can('audit:read'),
}
