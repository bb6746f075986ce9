/** A sink for Elasticsearch and OpenSearch. */
import { toEcs } from '../formats/ecs.ts'
import type { AuditEntry } from '../log/entries.ts'
import { post, requireUrl, type HttpTarget } from './http-post.ts'
import type { AuditSink, Rejection } from '../log/sink.ts'

const MAX_REASON = 200

interface BulkAnswer {
  readonly errors?: boolean
  readonly items?: readonly {
    readonly create?: { readonly status: number; readonly error?: { readonly type?: string } }
  }[]
}

/**
 * Writes ECS events to a data stream with the bulk API. The document id is the record id, so that a
 * repeated delivery changes nothing.
 *
 * @param target.url the server, without a path.
 * @throws PARAPET_AUDIT_LOG_INVALID_OPTION the URL is not an HTTP URL.
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
  if (answer.items?.length !== entries.length) {
    throw new Error('the receiver did not answer with one result per record')
  }
  const rejections: Rejection[] = []
  answer.items.forEach(({ create }, at) => {
    const status = create?.status ?? 500
    // 409: the record arrived with an earlier delivery.
    if (status < 300 || status === 409) return
    if (status === 429 || status >= 500) {
      throw new Error(`the receiver answered with status ${status} for a record`)
    }
    const reason = `${status} ${create?.error?.type ?? ''}`.trim().slice(0, MAX_REASON)
    rejections.push({ index: entries[at]!.index, reason })
  })
  return rejections
}
