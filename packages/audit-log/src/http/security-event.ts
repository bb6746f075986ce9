/** Maps a security event to the fields of a record. */
import type { SecurityEvent } from '@parapet/kit'
import type { AuditFields } from '../record/fields.ts'

/** Keeps every member of the event; its `action` moves into the data of the record. */
export function fieldsOfEvent(event: SecurityEvent): AuditFields {
  const { principalId, sessionId, actorId, resourceType, resourceId, action, details } = event
  const { ip, userAgent, requestId, route, severity, outcome } = event
  const who = { principal: principalId, actor: actorId, session: sessionId }
  const source = { ...who, ip, userAgent, requestId, route }
  return {
    ...textsOf({ ...source, resource: resourceType, resourceId }),
    severity,
    result: outcome,
    data: action === undefined ? { ...details } : { ...details, action },
  }
}

/** Anything else would be refused, and the record must still be written. */
function textsOf(value: Readonly<Record<string, unknown>>): AuditFields {
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => ['string', 'number'].includes(typeof member)),
  )
}
