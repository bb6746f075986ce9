/** Four functions for what most services record first. */
import { firstIds } from './actions.ts'
import type { AuditFields, Markable } from './fields.ts'

/** What {@link securityLogger} uses of an app. */
interface AuditedApp {
  readonly audit: {
    record(
      action: string,
      fields: AuditFields,
      options: { readonly undeclared: true },
    ): Promise<{ readonly id: string }>
  }
}

/** Who acted, and from where. */
type Actor = Pick<
  AuditFields,
  'principal' | 'session' | 'tenant' | 'ip' | 'userAgent' | 'requestId' | 'route'
>

/** The functions of {@link securityLogger}. Their actions need not be in the option `actions`. */
export interface SecurityLogger {
  /** `auth.login`: a login succeeded or failed. */
  logAuthAttempt(
    fact: Actor & { readonly success: boolean; readonly method?: string; readonly reason?: string },
  ): Promise<{ readonly id: string }>
  /** `access.violation`: access to a resource was denied. */
  logAccessViolation(
    fact: Actor & {
      readonly resource: string
      readonly resourceId?: Markable
      readonly permission?: string
    },
  ): Promise<{ readonly id: string }>
  /** `data.access` or `data.export`: records were read or changed; keeps the first 10 ids and the count. */
  logDataAccess(
    fact: Actor & {
      readonly resource: string
      readonly operation: 'read' | 'create' | 'update' | 'delete' | 'export'
      readonly ids: readonly (string | number)[]
    },
  ): Promise<{ readonly id: string }>
  /** `gdpr.<request>`: a data subject exercised a right. */
  logGdpr(
    fact: Actor & {
      readonly request: 'access' | 'export' | 'erasure' | 'rectification' | 'consent' | 'objection'
      readonly subject: Markable
      readonly result?: 'success' | 'failure'
    },
  ): Promise<{ readonly id: string }>
}

/** Makes the four functions. Each resolves when its record is on disk. */
export function securityLogger(app: AuditedApp): SecurityLogger {
  const record = (action: string, fields: AuditFields) =>
    app.audit.record(action, fields, { undeclared: true })
  return {
    logAuthAttempt: ({ success, method, reason, ...actor }) =>
      record('auth.login', {
        ...actor,
        result: success ? 'success' : 'failure',
        data: { method, reason },
      }),
    logAccessViolation: ({ permission, ...fact }) =>
      record('access.violation', { ...fact, result: 'failure', data: { permission } }),
    logDataAccess: ({ operation, ids, resource, ...actor }) =>
      record(operation === 'export' ? 'data.export' : 'data.access', {
        ...actor,
        resource,
        data: { operation, ids: firstIds(ids) },
      }),
    logGdpr: ({ request, subject, result, ...actor }) =>
      record(`gdpr.${request}`, {
        ...actor,
        resource: 'person',
        resourceId: subject,
        ...(result === undefined ? undefined : { result }),
      }),
  }
}
