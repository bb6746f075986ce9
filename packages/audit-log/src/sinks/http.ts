/** Deliveries over HTTP. */
import type { AuditEntry } from '../log/reader.ts'
import { createHmac } from 'node:crypto'
import { PARAPET_AUDIT_LOG_INVALID_OPTION } from '../errors.ts'
import { SinkRefusal, type AuditSink, type Rejection } from './follower.ts'
import { ownOf, toEcs, toOcsf } from './mappers.ts'

/** Where to send, and with which headers (for instance `authorization`). */
export interface HttpTarget {
  /** @default that of the kind of sink */
  readonly name?: string
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
}

/** What will not be better at the next try: the request itself is at fault. */
const REFUSED = new Set([400, 413, 415, 422])
const MAX_ANSWER_BYTES = 16 * 1024 * 1024
const MAX_REASON = 200
const LEAST_SECRET_BYTES = 24

async function post(
  { url, headers }: HttpTarget,
  type: string,
  body: string,
  signal: AbortSignal,
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...headers, ...more, 'content-type': type },
    body,
    signal,
    redirect: 'error',
  })
  const answer = await readAnswer(response)
  if (REFUSED.has(response.status)) throw new SinkRefusal(`answered ${response.status}`)
  if (!response.ok) throw new Error(`answered ${response.status}`)
  return answer
}

/** Whoever answers without an end must not fill the memory. */
async function readAnswer({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error('answered too much')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** An address that no request can be made to is a fault of the configuration, and stops the boot. */
function requireUrl(url: string): void {
  const isHttp = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)
  if (!isHttp) refuse('sinks: "url" must begin with http:// or https://')
}

function refuse(fault: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_OPTION('@parapet/audit-log', `  ${fault}`)
}

interface BulkAnswer {
  readonly errors?: boolean
  readonly items?: readonly {
    readonly create?: { readonly status: number; readonly error?: { readonly type?: string } }
  }[]
}

/**
 * Elasticsearch or OpenSearch, into a data stream by the bulk API, as ECS. A record keeps its id, so
 * that a repetition changes nothing.
 *
 * @param target.url the server, without a path.
 */
export function elasticsearchSink(target: HttpTarget & { readonly dataStream: string }): AuditSink {
  requireUrl(target.url)
  const url = new URL(`${encodeURIComponent(target.dataStream)}/_bulk`, `${target.url}/`).href
  return {
    name: target.name ?? 'elasticsearch',
    async deliver(entries, signal) {
      const body = entries
        .map((entry) => {
          const head = JSON.stringify({ create: { _id: entry.record.id } })
          return `${head}\n${JSON.stringify(toEcs(entry))}\n`
        })
        .join('')
      const answer = await post({ ...target, url }, 'application/x-ndjson', body, signal)
      return bulkRejections(entries, JSON.parse(answer) as BulkAnswer)
    },
  }
}

function bulkRejections(entries: readonly AuditEntry[], answer: BulkAnswer): Rejection[] {
  if (answer.errors === false) return []
  if (answer.items?.length !== entries.length) throw new Error('answered for other items')
  const rejections: Rejection[] = []
  answer.items.forEach(({ create }, at) => {
    const status = create?.status ?? 500
    // 409: an earlier delivery of the same record arrived.
    if (status < 300 || status === 409) return
    if (status === 429 || status >= 500) throw new Error(`an item was answered ${status}`)
    const reason = `${status} ${create?.error?.type ?? ''}`.trim().slice(0, MAX_REASON)
    rejections.push({ index: entries[at]!.index, reason })
  })
  return rejections
}

/** An OpenTelemetry collector: OTLP/HTTP with JSON. @param target.url with its path, `…/v1/logs`. */
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
      // Which ones is not told; a smaller delivery finds out.
      if (Number(partialSuccess?.rejectedLogRecords ?? 0) > 0) {
        throw new SinkRefusal('some records were rejected')
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
    severityNumber: ownOf(OTLP_SEVERITIES, severity) ?? OTLP_INFO,
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

/**
 * A webhook with OCSF events, signed as Standard Webhooks has it; the id is that of the first
 * record, the same for a repetition.
 *
 * @param target.secret at least 24 bytes.
 * @throws PARAPET_AUDIT_LOG_INVALID_OPTION
 * @see https://www.standardwebhooks.com
 */
export function webhookSink(target: HttpTarget & { readonly secret: Uint8Array }): AuditSink {
  requireUrl(target.url)
  if (!(target.secret instanceof Uint8Array) || target.secret.length < LEAST_SECRET_BYTES) {
    refuse(`sinks: "secret" of a webhook must be at least ${LEAST_SECRET_BYTES} bytes`)
  }
  return {
    name: target.name ?? 'webhook',
    batchRecords: 100,
    async deliver(entries, signal) {
      const body = JSON.stringify({ records: entries.map((entry) => toOcsf(entry)) })
      const first = entries[0]!
      const id = `${first.record.id}-${entries.length}`
      const timestamp = String(Math.floor(Date.now() / 1000))
      const signature = createHmac('sha256', target.secret)
        .update(`${id}.${timestamp}.${body}`)
        .digest('base64')
      await post(target, 'application/json', body, signal, {
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${signature}`,
      })
    },
  }
}
