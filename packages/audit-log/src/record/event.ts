/** A security event as the fields of a record. */
import type { SecurityEvent } from '@parapet/kit'
import type { AuditFields } from './recorder.ts'

/** Every member keeps its meaning; an `action` of the event stands in the data. */
export function fieldsOf(event: SecurityEvent): AuditFields {
  const { principalId, sessionId, resourceType, resourceId, action, details } = event
  const { ip, userAgent, requestId, route, severity, outcome } = event
  const subject = { principal: principalId, session: sessionId, ip, userAgent, requestId, route }
  return {
    ...withoutUndefined({ ...subject, resource: resourceType, resourceId }),
    severity,
    result: outcome,
    data: action === undefined ? { ...details } : { ...details, action },
  }
}

function withoutUndefined(value: Readonly<Record<string, string | undefined>>): AuditFields {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined))
}
