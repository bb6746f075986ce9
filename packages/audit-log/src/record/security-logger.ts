/** The four facts that most services record first, behind four functions. */
import { firstIds } from './actions.ts'
import type { AuditFields, Markable } from './recorder.ts'

/** What {@link securityLogger} needs of an app. */
interface AuditedApp {
  readonly audit: {
    writeOpen(name: string, fields: AuditFields): Promise<{ readonly id: string }>
  }
}

/** Who did it, and from where. */
type Actor = Pick<
  AuditFields,
  'principal' | 'session' | 'tenant' | 'ip' | 'userAgent' | 'requestId' | 'route'
>

/** See {@link securityLogger}. */
export interface SecurityLogger {
  /** `auth.login`: somebody proved who they are, or failed to. */
  logAuthAttempt(
    fact: Actor & { readonly success: boolean; readonly method?: string; readonly reason?: string },
  ): Promise<{ readonly id: string }>
  /** `access.violation`: somebody asked for what they may not have. */
  logAccessViolation(
    fact: Actor & {
      readonly resource: string
      readonly resourceId?: Markable
      readonly permission?: string
    },
  ): Promise<{ readonly id: string }>
  /** `data.access`: somebody read or changed records; the first 10 ids and their count are kept. */
  logDataAccess(
    fact: Actor & {
      readonly resource: string
      readonly operation: 'read' | 'create' | 'update' | 'delete' | 'export'
      readonly ids: readonly (string | number)[]
    },
  ): Promise<{ readonly id: string }>
  /** `gdpr.<request>`: a person used a right. */
  logGdpr(
    fact: Actor & {
      readonly request: 'access' | 'export' | 'erasure' | 'rectification' | 'consent' | 'objection'
      readonly subject: Markable
      readonly result?: 'success' | 'failure'
    },
  ): Promise<{ readonly id: string }>
}

/** Makes the four functions; each resolves when its record is on disk. */
export function securityLogger(app: AuditedApp): SecurityLogger {
  const { audit } = app
  return {
    logAuthAttempt: ({ success, method, reason, ...actor }) =>
      audit.writeOpen('auth.login', {
        ...actor,
        result: success ? 'success' : 'failure',
        data: { method, reason },
      }),
    logAccessViolation: ({ permission, ...fact }) =>
      audit.writeOpen('access.violation', { ...fact, result: 'failure', data: { permission } }),
    logDataAccess: ({ operation, ids, resource, ...actor }) =>
      audit.writeOpen(operation === 'export' ? 'data.export' : 'data.access', {
        ...actor,
        resource,
        data: { operation, ids: firstIds(ids) },
      }),
    logGdpr: ({ request, subject, result, ...actor }) =>
      audit.writeOpen(`gdpr.${request}`, {
        ...actor,
        resource: 'person',
        resourceId: subject,
        ...(result === undefined ? undefined : { result }),
      }),
  }
}
