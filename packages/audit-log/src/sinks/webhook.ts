/** A sink for signed webhooks. */
import { createHmac } from 'node:crypto'
import { toOcsf } from '../formats/ocsf.ts'
import { post, refuseTarget, requireUrl, type HttpTarget } from './http-post.ts'
import type { AuditSink } from '../log/sink.ts'

const MIN_SECRET_BYTES = 24

/**
 * Sends OCSF events, signed by Standard Webhooks. The message id contains the id of the first record
 * and is the same when a delivery is repeated.
 *
 * @param target.secret at least 24 bytes.
 * @throws PARAPET_AUDIT_LOG_INVALID_OPTION the URL is not an HTTP URL, or the secret is too short.
 * @see https://www.standardwebhooks.com
 */
export function webhookSink(target: HttpTarget & { readonly secret: Uint8Array }): AuditSink {
  requireUrl(target.url)
  if (!(target.secret instanceof Uint8Array) || target.secret.length < MIN_SECRET_BYTES) {
    refuseTarget(`"sinks" must have a webhook "secret" of at least ${MIN_SECRET_BYTES} bytes`)
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
