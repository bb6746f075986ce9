/** Records as events of the Elastic Common Schema. */
import {
  isAddress,
  ownMember,
  SEVERITIES,
  textOf,
  withoutUndefined,
  type MappedEntry,
} from './members.ts'

/** Maps an entry to an event of ECS 8. @see https://www.elastic.co/guide/en/ecs/current */
export function toEcs({ record, index }: MappedEntry): Record<string, unknown> {
  return withoutUndefined({
    '@timestamp': new Date(record.time).toISOString(),
    ecs: { version: '8.11.0' },
    message: record.action,
    event: withoutUndefined({
      id: record.id,
      kind: record.action === 'audit_log.alert_raised' ? 'alert' : 'event',
      action: record.action,
      outcome: record.result,
      code: record.errorCode,
      dataset: 'audit',
      sequence: index,
      severity: ownMember(SEVERITIES, record.severity) ?? 1,
    }),
    user: withoutUndefined({ id: textOf(record.principal) }),
    // ECS requires an IP address: Elasticsearch rejects a hash or a commitment.
    source: isAddress(record.ip) ? { ip: record.ip } : {},
    user_agent: withoutUndefined({ original: textOf(record.userAgent) }),
    http: withoutUndefined({ request: withoutUndefined({ id: record.requestId }) }),
    organization: withoutUndefined({ id: textOf(record.tenant) }),
    parapet: {
      audit: withoutUndefined({
        actor: textOf(record.actor),
        session: textOf(record.session),
        resource: record.resource,
        resource_id: textOf(record.resourceId),
        route: record.route,
        phase: record.phase,
        writer: record.writer,
        seq: record.seq,
        // JSON texts, so that documents with different members cannot conflict in their mapping.
        changes: record.changes === undefined ? undefined : JSON.stringify(record.changes),
        data: record.data === undefined ? undefined : JSON.stringify(record.data),
      }),
    },
  })
}
