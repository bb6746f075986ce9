/** The options of `@parapet/audit-log`: its key and spool, and who may read it. */
import { hkdfSync } from 'node:crypto'
import {
  ephemeralDirectory,
  type AuditLogOptions,
  type AuditRoutesOptions,
  type AuditRule,
} from '@parapet/audit-log'
import { createLocalCipher, generateCipherKey, parseCipherKeys } from '@parapet/kit'
import { generateSecret } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { API, inApi } from '../http/api.ts'

/**
 * The instances share one log in the database, and one key. Without `AUDIT_KEY`, the key is in the folder
 * of the spool. Without both, the log is in a temporary folder, which is deleted on close.
 */
export function createAuditOptions(app: FastifyInstance, config: Config): AuditLogOptions {
  const { auditDir: directory, auditKey: pem, auditOrigin: origin } = config
  const seal = createSeal(config)
  if (directory !== undefined) {
    const key = pem !== undefined && { key: { pem } }
    return { origin, directory, sql: app.sql, ...key, ...seal }
  }
  app.log.warn(
    'audit-log writes to a temporary folder; records are lost on restart. Set AUDIT_KEY or AUDIT_DIR.',
  )
  // Without the key no later process could continue the log, so it is not written to the database.
  return { origin, directory: ephemeralDirectory, ...seal }
}

/** Whether an erasure makes addresses and user agents unreadable. */
export function isAuditSealed(config: Config): boolean {
  return createSeal(config) !== undefined
}

type Seal = Pick<AuditLogOptions, 'cipher' | 'hashKey' | 'fields' | 'subjectOf'>

/**
 * Seals where a user came from, so that an erasure can destroy it. What has no user stays readable: an
 * attacker's address is needed. Without saved keys, the next process could not continue the log.
 */
function createSeal({ privacyKeys, privacySecret, auditDir }: Config): Seal | undefined {
  const isSaved = privacyKeys !== undefined && privacySecret !== undefined
  if (!isSaved && auditDir !== undefined) return undefined
  const secret = Buffer.from(privacySecret ?? generateSecret(), 'base64url')
  return {
    cipher: createLocalCipher(parseCipherKeys(privacyKeys ?? generateCipherKey())),
    hashKey: new Uint8Array(hkdfSync('sha256', secret, '', 'reference-server audit-log', 32)),
    fields: { ip: 'pii-or-clear', userAgent: 'pii-or-clear' },
    // A sign-up comes from the user that it creates.
    subjectOf: ({ resource, resourceId }) =>
      resource === 'user' && typeof resourceId === 'string' ? resourceId : undefined,
  }
}

/** Routes of plugins that emit no event, or one that does not name the request. */
const pluginRoutes: Readonly<Record<string, string | AuditRule>> = inApi<string | AuditRule>({
  'DELETE /auth/sessions': 'session.end_others',
  'PATCH /auth/sessions/:id': 'session.rename',
  'POST /auth/email': 'user.request_email_change',
  'PATCH /mfa/passkeys/:id': 'passkey.rename',
  'POST /privacy/requests': 'privacy.ask',
  'POST /privacy/requests/by-contact': 'privacy.ask_by_contact',
  'POST /privacy/requests/confirm': 'privacy.confirm',
  'POST /privacy/requests/:id/withdraw': named('privacy.withdraw'),
  'POST /privacy/requests/:id/link': named('privacy.make_link'),
  'POST /privacy/archives': 'privacy.download',
  'POST /privacy/admin/requests/:id/approve': named('privacy.approve'),
  'POST /privacy/admin/requests/:id/retry': named('privacy.retry'),
  'POST /privacy/admin/requests/:id/extend': named('privacy.extend'),
  'POST /privacy/admin/requests/:id/reject': named('privacy.reject'),
  'POST /privacy/admin/sweeps': 'privacy.sweep',
})

/** A rule for a route whose parameter is the id of the resource. */
function named(action: string): AuditRule {
  return { action, resourceId: ({ params }) => (params as { readonly id: string }).id }
}

/** Gives routes of other plugins an audit rule. Call it before the audit log is registered. */
export function auditPluginRoutes(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const audit = pluginRoutes[`${String(route.method)} ${route.url}`]
    if (audit !== undefined) route.config = { ...route.config, audit }
  })
}

/** The routes of the audit log require the permission `audit:read`. */
export const auditRoutes: AuditRoutesOptions & { readonly prefix: string } = {
  prefix: `${API}/audit`,
  guard: (request) => request.rbac.can('audit:read'),
}
