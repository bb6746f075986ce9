/** The sources of what the service notes about users: audit records, incidents, and mail in files. */
import type { PrivacySource, SourceRecord } from '@parapet/privacy'
import type { FastifyInstance } from 'fastify'
import { eraseOutbox, listOutbox } from '../mail/transport.ts'

/** Who did what must stay provable, and the id alone names nobody once the account is erased. */
const PROOF = 'GDPR, article 17(3)(e): legal claims; the id alone'
const PAGE = 100
const ERASED = '[erased]'
const BEFORE_KEYS = 'records from before PRIVACY_KEYS and PRIVACY_SECRET were set cannot be changed'

/**
 * The records stay, because the log must verify. Addresses and user agents are sealed with a key of their
 * user, which an erasure destroys.
 *
 * @param isSealed `false`: without saved keys they are readable, and stay.
 */
export function auditSource(app: FastifyInstance, isSealed: boolean): PrivacySource {
  const strategy = isSealed ? 'delete' : { retain: 'PRIVACY_KEYS and PRIVACY_SECRET are not set' }
  const source: PrivacySource = {
    name: 'audit-log',
    purpose: 'Proving who did what',
    legalBasis: 'legitimate-interests',
    categories: ['user.behavior', 'user.device', 'user.device.ip_address'],
    retentionDays: null,
    storedIn: 'PostgreSQL: audit_log_events, audit_log_values; spool in AUDIT_DIR',
    encrypted: isSealed,
    fields: { records: { retain: PROOF }, ip: strategy, userAgent: strategy },
    async *collect(subject): AsyncIterable<SourceRecord> {
      for await (const record of recordsOf(app, { principal: subject })) {
        const { action, time, result, resource, resourceId } = record
        yield toRecord({ action, time, result, resource, resourceId })
      }
    },
  }
  if (!isSealed) return source
  return {
    ...source,
    async erase(subject, { key }) {
      await app.audit.erase(subject, { reason: `privacy request ${key}` })
    },
    async verifyErased(subject, _plan, { signal }) {
      let sealed: string | undefined
      let isReadable = false
      // A sign-up comes from the user that it creates.
      for (const filters of [{ principal: subject }, { resource: 'user', resourceId: subject }]) {
        for await (const { id, principal, ip, userAgent } of recordsOf(app, filters)) {
          signal.throwIfAborted()
          if (principal !== undefined && principal !== subject) continue
          if (typeof ip === 'object') sealed ??= id
          isReadable ||= typeof ip === 'string' || typeof userAgent === 'string'
        }
      }
      const origin = sealed === undefined ? ERASED : (await app.audit.reveal(sealed))['ip']
      const retained = { ip: BEFORE_KEYS, userAgent: BEFORE_KEYS }
      return { remaining: Number(origin !== ERASED), ...(isReadable && { retained }) }
    },
  }
}

type AuditQuery = NonNullable<Parameters<FastifyInstance['audit']['query']>[0]>

/** The records that match, the latest first. */
async function* recordsOf(app: FastifyInstance, filters: NonNullable<AuditQuery['filters']>) {
  let next: AuditQuery | null = { filters, limit: PAGE }
  while (next !== null) {
    const query: AuditQuery = next
    const { entries, cursor } = await app.audit.query(query)
    for (const { record } of entries) yield record
    next = cursor === null ? null : { ...query, cursor }
  }
}

/** Incidents name who was attacked, and who attacked. They are deleted after two years. */
export function incidentsSource(app: FastifyInstance): PrivacySource {
  return {
    name: 'incidents',
    purpose: 'Answering attacks',
    legalBasis: 'legitimate-interests',
    categories: ['user.behavior', 'user.device.ip_address'],
    retentionDays: null,
    storedIn: 'PostgreSQL: incident_response_incidents',
    fields: { principals: { retain: PROOF }, addresses: { retain: PROOF } },
    async *collect(subject): AsyncIterable<SourceRecord> {
      const text = `SELECT id::text AS id, type, severity, opened_at::float8 AS "openedAt"
        FROM incident_response_incidents WHERE document->'principals' @> $1::jsonb ORDER BY id`
      const named = JSON.stringify([{ id: subject }])
      yield* (await app.sql.query<SourceRecord>(text, [named])).rows
    },
  }
}

/** Mail that was written to files. A mail server keeps its own. */
export function mailSource(folder: string): PrivacySource {
  return {
    name: 'mail',
    purpose: 'Telling users about their account',
    legalBasis: 'contract',
    categories: ['user.contact.email'],
    retentionDays: null,
    storedIn: 'OUTBOX_DIR, without SMTP_URL',
    fields: { message: 'delete' },
    async *collect(subject): AsyncIterable<SourceRecord> {
      for (const name of await listOutbox(folder, subject)) yield { name }
    },
    erase: (subject) => eraseOutbox(folder, subject),
    verifyErased: async (subject) => ({ remaining: (await listOutbox(folder, subject)).length }),
  }
}

/** Without members that a record does not have. */
function toRecord(value: object): SourceRecord {
  return JSON.parse(JSON.stringify(value)) as SourceRecord
}
