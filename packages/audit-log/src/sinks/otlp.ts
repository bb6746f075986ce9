/** A sink for OpenTelemetry collectors. */
import { escapeText } from '../formats/controls.ts'
import { ownMember } from '../formats/members.ts'
import type { AuditEntry } from '../log/entries.ts'
import { post, requireUrl, type HttpTarget } from './http-post.ts'
import { SinkPartialRefusal, type AuditSink } from '../log/sink.ts'

const MAX_REASON = 200

/**
 * Sends log records with OTLP/HTTP in JSON.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#partial-success
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
        partialSuccess?: { rejectedLogRecords?: string | number; errorMessage?: string }
      }
      const rejected = Number(partialSuccess?.rejectedLogRecords ?? 0)
      // "The client MUST NOT retry the request when it receives a partial success response."
      if (rejected > 0) {
        throw new SinkPartialRefusal(
          `the receiver rejected ${rejected} of ${entries.length} records: ${escapeText(partialSuccess?.errorMessage ?? '').slice(0, MAX_REASON)}`,
        )
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
