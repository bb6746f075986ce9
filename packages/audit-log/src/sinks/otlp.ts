/** A sink for OpenTelemetry collectors. */
import { ownMember } from '../formats/members.ts'
import type { AuditEntry } from '../log/entries.ts'
import { post, requireUrl, type HttpTarget } from './http-post.ts'
import { SinkRefusal, type AuditSink } from '../log/sink.ts'

/**
 * Sends log records with OTLP/HTTP in JSON.
 *
 * @param target.url the complete URL, `…/v1/logs`.
 * @throws PARAPET_AUDIT_LOG_INVALID_OPTION the URL is not an HTTP URL.
 */
export function otlpSink(target: HttpTarget & { readonly serviceName?: string }): AuditSink {
  requireUrl(target.url)
  const resource = {
    attributes: [attribute('service.name', target.serviceName ?? 'audit-log')],
  }
  return {
    name: target.name ?? 'otlp',
    async deliver(entries, signal) {
      const logRecords = entries.map(otlpRecord)
      const scopeLogs = [{ scope: { name: '@parapet/audit-log' }, logRecords }]
      const body = JSON.stringify({ resourceLogs: [{ resource, scopeLogs }] })
      const answer = await post(target, 'application/json', body, signal)
      const { partialSuccess } = JSON.parse(answer || '{}') as {
        partialSuccess?: { rejectedLogRecords?: string | number }
      }
      // The response does not say which records; smaller batches find out.
      if (Number(partialSuccess?.rejectedLogRecords ?? 0) > 0) {
        throw new SinkRefusal('the receiver rejected some records')
      }
    },
  }
}

const OTLP_INFO = 9
const OTLP_SEVERITIES = { info: OTLP_INFO, low: 11, medium: 13, high: 17, critical: 21 }

function otlpRecord({ record, index, leaf }: AuditEntry): object {
  const severity = record.severity ?? 'info'
  return {
    timeUnixNano: `${record.time}000000`,
    severityNumber: ownMember(OTLP_SEVERITIES, severity) ?? OTLP_INFO,
    severityText: severity.toUpperCase(),
    body: { stringValue: leaf },
    attributes: [
      attribute('event.name', record.action),
      attribute('audit.record.id', record.id),
      attribute('audit.record.index', String(index)),
      attribute('audit.result', record.result),
    ],
  }
}

function attribute(key: string, value: string): object {
  return { key, value: { stringValue: value } }
}
