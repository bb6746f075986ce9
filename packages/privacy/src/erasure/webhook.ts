/**
 * Messages between this service and a processor, signed as Standard Webhooks.
 *
 * @see https://www.standardwebhooks.com
 */
import { createHmac } from 'node:crypto'
import { secretsEqual } from '@parapet/kit'

const TOLERANCE_SECONDS = 300

/** The headers of a signed message. */
export interface WebhookHeaders {
  readonly 'webhook-id': string
  readonly 'webhook-timestamp': string
  readonly 'webhook-signature': string
}

/** Signs a message. @param now milliseconds since the Unix epoch */
export function signWebhook(id: string, body: string, secret: string, now: number): WebhookHeaders {
  const timestamp = String(Math.floor(now / 1000))
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatureOf(id, timestamp, body, secret),
  }
}

/** Verifies a message that is not older, and not newer, than five minutes. */
export function verifyWebhook(
  headers: Readonly<Record<string, unknown>>,
  body: string,
  secret: string,
  now: number,
): boolean {
  const id = headers['webhook-id']
  const timestamp = headers['webhook-timestamp']
  const signatures = headers['webhook-signature']
  if (typeof id !== 'string' || typeof timestamp !== 'string') return false
  if (typeof signatures !== 'string' || signatures.length > 2048) return false
  if (!/^\d{1,12}$/.test(timestamp)) return false
  if (Math.abs(now / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) return false
  const expected = signatureOf(id, timestamp, body, secret)
  return signatures.split(' ').some((signature) => secretsEqual(signature, expected))
}

function signatureOf(id: string, timestamp: string, body: string, secret: string): string {
  const mac = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64')
  return `v1,${mac}`
}
