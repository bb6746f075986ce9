/** A record in the words of others: OCSF, ECS and CEF. */
import { isIP } from 'node:net'
import type { AuditEntry } from '../log/reader.ts'
import type { OcsfClass } from '../record/actions.ts'
import type { AuditRecord, LeafText } from '../record/leaf.ts'

interface OcsfKind {
  readonly category: number
  readonly uid: number
  /** What is done, by the last word of an action; else 99, "Other". */
  readonly activities: Readonly<Record<string, number>>
}

const CRUD = { create: 1, read: 2, update: 3, change: 3, delete: 4 }
/** What OCSF says of each class. */
export const KINDS: Readonly<Record<OcsfClass, OcsfKind>> = {
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
const NOWHERE = { name: 'unknown' }
const STATUSES = { unknown: 0, success: 1, failure: 2 }
const SEVERITIES: Readonly<Record<string, number>> = {
  info: 1,
  low: 2,
  medium: 3,
  high: 4,
  critical: 5,
}
/** CEF counts to ten. */
const CEF_SEVERITY = [0, 2, 4, 6, 8, 10]

/** The OCSF class of an action, by its name. */
function classOf(action: string): OcsfClass {
  if (action === 'audit_log.alert_raised') return 'detection_finding'
  if (/(?:^|\.)role(?:\.|_|$)/.test(action)) return 'user_access'
  if (/^(?:auth|sessions|mfa)\./.test(action)) return 'authentication'
  if (/^(?:user|account)\./.test(action)) return 'account_change'
  if (/^data\.|\.export(?:ed)?$/.test(action)) return 'datastore_activity'
  return 'api_activity'
}

/**
 * An event of OCSF 1.x; what OCSF has no member for stands in `unmapped`.
 *
 * @param ocsfClass @default that of the action's definition, else by its name
 * @see https://schema.ocsf.io
 */
export function toOcsf(
  { record, index, ocsf }: Pick<AuditEntry, 'record' | 'index' | 'ocsf'>,
  ocsfClass: OcsfClass = ocsf ?? classOf(record.action),
): Record<string, unknown> {
  const kind = KINDS[ocsfClass]
  const activity = ownOf(kind.activities, record.action.split('.').at(-1) ?? '') ?? OTHER_ACTIVITY
  return clean({
    activity_id: activity,
    category_uid: kind.category,
    class_uid: kind.uid,
    type_uid: kind.uid * 100 + activity,
    time: record.time,
    severity_id: ownOf(SEVERITIES, record.severity) ?? 1,
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
    unmapped: clean({
      route: record.route,
      tenant: text(record.tenant),
      phase: record.phase,
      attempt_id: record.attemptId,
      changes: record.changes,
      data: record.data,
      writer: record.writer,
      seq: record.seq,
    }),
  })
}

/** What a class demands, and where it has a place for who asked and from where. */
function membersOf(ocsfClass: OcsfClass, record: AuditRecord): Record<string, unknown> {
  const uid = text(record.resourceId)
  const target = { uid: uid ?? 'unknown' }
  const place = {
    actor: actorOf(record),
    src_endpoint: endpointOf(record),
    http_request: some({ user_agent: text(record.userAgent), uid: record.requestId }),
  }
  switch (ocsfClass) {
    case 'authentication':
      return {
        ...place,
        user: { uid: text(record.principal) ?? 'unknown' },
        service: { name: record.resource ?? 'application' },
      }
    case 'account_change':
      return { ...place, user: target }
    case 'user_access':
      return { ...place, user: target, privileges: [record.action] }
    case 'entity_management':
      return { ...place, entity: clean({ ...target, type: record.resource }) }
    case 'datastore_activity':
      return {
        ...place,
        src_endpoint: place.src_endpoint ?? NOWHERE,
        databucket: clean({ ...target, type_id: OTHER_TYPE, type: record.resource }),
      }
    case 'detection_finding':
      return {
        finding_info: { uid: record.id, title: record.action },
        evidences: [clean({ actor: place.actor, src_endpoint: place.src_endpoint })],
      }
    case 'api_activity':
    default: {
      const resource = some({ uid, name: uid === undefined ? record.resource : undefined })
      return {
        ...place,
        src_endpoint: place.src_endpoint ?? NOWHERE,
        api: { operation: record.route ?? record.action },
        resources: resource && [clean({ ...resource, type: record.resource })],
      }
    }
  }
}

/** Somebody, or the app itself. */
function actorOf({ principal, session }: AuditRecord): Record<string, unknown> {
  return (
    some({ user: some({ uid: text(principal) }), session: some({ uid: text(session) }) }) ?? {
      app_name: 'application',
    }
  )
}

/** A hash or a commitment is no address, and stands as a name. */
function endpointOf({ ip }: AuditRecord): Record<string, unknown> | undefined {
  return isAddress(ip) ? { ip } : some({ name: text(ip) })
}

function isAddress(ip: LeafText | undefined): ip is string {
  return typeof ip === 'string' && isIP(ip) !== 0 && !ip.includes('%')
}

/** An event of the Elastic Common Schema 8. @see https://www.elastic.co/guide/en/ecs/current */
export function toEcs({
  record,
  index,
}: Pick<AuditEntry, 'record' | 'index'>): Record<string, unknown> {
  return clean({
    '@timestamp': new Date(record.time).toISOString(),
    ecs: { version: '8.11.0' },
    message: record.action,
    event: clean({
      id: record.id,
      kind: record.action === 'audit_log.alert_raised' ? 'alert' : 'event',
      action: record.action,
      outcome: record.result,
      code: record.errorCode,
      dataset: 'audit',
      sequence: index,
      severity: ownOf(SEVERITIES, record.severity) ?? 1,
    }),
    user: clean({ id: text(record.principal) }),
    // ECS has an IP address there, or nothing: a hash or a commitment would be refused.
    source: isAddress(record.ip) ? { ip: record.ip } : {},
    user_agent: clean({ original: text(record.userAgent) }),
    http: clean({ request: clean({ id: record.requestId }) }),
    organization: clean({ id: text(record.tenant) }),
    parapet: {
      audit: clean({
        session: text(record.session),
        resource: record.resource,
        resource_id: text(record.resourceId),
        route: record.route,
        phase: record.phase,
        writer: record.writer,
        seq: record.seq,
        // Texts, so that no document's shape can disagree with another's mapping.
        changes: record.changes === undefined ? undefined : JSON.stringify(record.changes),
        data: record.data === undefined ? undefined : JSON.stringify(record.data),
      }),
    },
  })
}

/** One line of ArcSight's Common Event Format, revision 25. */
export function toCef({ record, index }: Pick<AuditEntry, 'record' | 'index'>): string {
  const severity = CEF_SEVERITY[ownOf(SEVERITIES, record.severity) ?? 1]
  const header = ['Parapet', 'audit-log', '1', record.action, record.action, String(severity)]
  const extension: Record<string, string | undefined> = {
    rt: String(record.time),
    externalId: record.id,
    cn1Label: 'index',
    cn1: String(index),
    act: record.action,
    outcome: record.result,
    suser: text(record.principal),
    src: text(record.ip),
    requestClientApplication: text(record.userAgent),
    request: record.route,
    reason: record.errorCode,
    cs1Label: 'resource',
    cs1: [record.resource, text(record.resourceId)].filter((part) => part !== undefined).join('/'),
    cs2Label: 'data',
    cs2: record.data === undefined ? undefined : JSON.stringify(record.data),
  }
  const pairs = Object.entries(extension).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [`${name}=${cefValue(value)}`],
  )
  return `CEF:0|${header.map(cefHeader).join('|')}|${pairs.join(' ')}`
}

function cefHeader(value: string): string {
  return oneLine(value.replaceAll('\\', '\\\\').replaceAll('|', '\\|')).replaceAll('\\n', ' ')
}

function cefValue(value: string): string {
  return oneLine(value.replaceAll('\\', '\\\\').replaceAll('=', '\\='))
}

/** Every line break that a receiver may split at, and other controls, without losing which it was. */
function oneLine(value: string): string {
  return value
    .replaceAll(/\r\n|[\r\n\u0085\u2028\u2029]/g, '\\n')
    .replaceAll(
      /\p{Cc}/gu,
      (control) => `\\u${control.codePointAt(0)!.toString(16).padStart(4, '0')}`,
    )
}

function text(value: LeafText | undefined): string | undefined {
  return value === undefined || typeof value === 'string' ? value : `pii:${value.subject}`
}

/** A name of a record must not find what every object inherits. */
export function ownOf<T>(table: Readonly<Record<string, T>>, name = ''): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

/** Without members that are `undefined`. */
function clean(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined))
}

/** As {@link clean}; `undefined` when nothing is left. */
function some(value: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const rest = clean(value)
  return Object.keys(rest).length > 0 ? rest : undefined
}
