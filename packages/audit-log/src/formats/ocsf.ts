/** Records as events of the Open Cybersecurity Schema Framework. @see https://schema.ocsf.io */
import type { OcsfClass } from '../record/actions.ts'
import type { AuditRecord } from '../record/leaf.ts'
import {
  isAddress,
  ownMember,
  SEVERITIES,
  textOf,
  withoutUndefined,
  withoutUndefinedOrNone,
  type MappedEntry,
} from './members.ts'

interface OcsfKind {
  readonly category: number
  readonly uid: number
  /** Activity ids by the last part of an action name; else 99, "Other". */
  readonly activities: Readonly<Record<string, number>>
}

const CRUD = { create: 1, read: 2, update: 3, change: 3, delete: 4 }
/** Category, uid and activities of each class. */
export const OCSF_CLASSES: Readonly<Record<OcsfClass, OcsfKind>> = {
  account_change: {
    category: 3,
    uid: 3001,
    activities: {
      create: 1,
      enable: 2,
      password_change: 3,
      password_reset: 4,
      disable: 5,
      delete: 6,
      lock: 9,
      locked: 9,
    },
  },
  authentication: {
    category: 3,
    uid: 3002,
    activities: { login: 1, login_failed: 1, logout: 2 },
  },
  entity_management: { category: 3, uid: 3004, activities: CRUD },
  user_access: {
    category: 3,
    uid: 3005,
    activities: { grant: 1, assign: 1, change: 1, revoke: 2 },
  },
  detection_finding: { category: 2, uid: 2004, activities: { alert_raised: 1 } },
  api_activity: { category: 6, uid: 6003, activities: CRUD },
  datastore_activity: {
    category: 6,
    uid: 6005,
    activities: {
      read: 1,
      access: 1,
      update: 2,
      export: 7,
      exported: 7,
      create: 6,
      delete: 5,
      write: 8,
    },
  },
}
const OTHER_ACTIVITY = 99
const OTHER_TYPE = 99
const UNKNOWN_ENDPOINT = { name: 'unknown' }
const STATUSES = { unknown: 0, success: 1, failure: 2 }
/** The OCSF class of an action without its own `ocsf`. */
function classOf(action: string): OcsfClass {
  if (action === 'audit_log.alert_raised') return 'detection_finding'
  if (/(?:^|\.)role(?:\.|_|$)/.test(action)) return 'user_access'
  if (/^(?:auth|sessions|mfa)\./.test(action)) return 'authentication'
  if (/^(?:user|account)\./.test(action)) return 'account_change'
  if (/^data\.|\.export(?:ed)?$/.test(action)) return 'datastore_activity'
  return 'api_activity'
}

/**
 * Maps an entry to an event of OCSF 1.4. Members without a place in OCSF are in `unmapped`.
 *
 * @param ocsfClass the class. @default that of the action's definition, else by the action's name
 * @see https://schema.ocsf.io
 */
export function toOcsf(
  { record, index, ocsf }: MappedEntry,
  ocsfClass: OcsfClass = ocsf ?? classOf(record.action),
): Record<string, unknown> {
  const kind = OCSF_CLASSES[ocsfClass]
  const activity =
    ownMember(kind.activities, record.action.split('.').at(-1) ?? '') ?? OTHER_ACTIVITY
  return withoutUndefined({
    activity_id: activity,
    category_uid: kind.category,
    class_uid: kind.uid,
    type_uid: kind.uid * 100 + activity,
    time: record.time,
    severity_id: ownMember(SEVERITIES, record.severity) ?? 1,
    status_id: STATUSES[record.result],
    status_code: record.errorCode,
    message: record.action,
    metadata: {
      version: '1.4.0',
      uid: record.id,
      sequence: index,
      event_code: record.action,
      product: { name: 'audit-log', vendor_name: 'Parapet' },
    },
    ...membersOf(ocsfClass, record),
    unmapped: withoutUndefined({
      route: record.route,
      // The operator who acted as the user of `actor`.
      impersonator: textOf(record.actor),
      tenant: textOf(record.tenant),
      phase: record.phase,
      attempt_id: record.attemptId,
      changes: record.changes,
      data: record.data,
      writer: record.writer,
      seq: record.seq,
    }),
  })
}

/** The required members of a class, and its members for actor and source. */
function membersOf(ocsfClass: OcsfClass, record: AuditRecord): Record<string, unknown> {
  const uid = textOf(record.resourceId)
  const target = { uid: uid ?? 'unknown' }
  const place = {
    actor: actorOf(record),
    src_endpoint: endpointOf(record),
    http_request: withoutUndefinedOrNone({
      user_agent: textOf(record.userAgent),
      uid: record.requestId,
    }),
  }
  switch (ocsfClass) {
    case 'authentication':
      return {
        ...place,
        user: { uid: textOf(record.principal) ?? 'unknown' },
        service: { name: record.resource ?? 'application' },
      }
    case 'account_change':
      return { ...place, user: target }
    case 'user_access':
      return { ...place, user: target, privileges: [record.action] }
    case 'entity_management':
      return { ...place, entity: withoutUndefined({ ...target, type: record.resource }) }
    case 'datastore_activity':
      return {
        ...place,
        src_endpoint: place.src_endpoint ?? UNKNOWN_ENDPOINT,
        databucket: withoutUndefined({ ...target, type_id: OTHER_TYPE, type: record.resource }),
      }
    case 'detection_finding':
      return {
        finding_info: { uid: record.id, title: record.action },
        evidences: [withoutUndefined({ actor: place.actor, src_endpoint: place.src_endpoint })],
      }
    case 'api_activity':
    default: {
      const resource = withoutUndefinedOrNone({
        uid,
        name: uid === undefined ? record.resource : undefined,
      })
      return {
        ...place,
        src_endpoint: place.src_endpoint ?? UNKNOWN_ENDPOINT,
        api: { operation: record.route ?? record.action },
        resources: resource && [withoutUndefined({ ...resource, type: record.resource })],
      }
    }
  }
}

/** The principal and session, or the app itself if the record has neither. */
function actorOf({ principal, session }: AuditRecord): Record<string, unknown> {
  return (
    withoutUndefinedOrNone({
      user: withoutUndefinedOrNone({ uid: textOf(principal) }),
      session: withoutUndefinedOrNone({ uid: textOf(session) }),
    }) ?? {
      app_name: 'application',
    }
  )
}

/** A hash or a commitment is not an address, so it becomes a name. */
function endpointOf({ ip }: AuditRecord): Record<string, unknown> | undefined {
  return isAddress(ip) ? { ip } : withoutUndefinedOrNone({ name: textOf(ip) })
}
