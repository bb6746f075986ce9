/** Messages by HTTP: signed webhooks, Slack and PagerDuty. */
import { createHmac } from 'node:crypto'
import {
  PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT,
  PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED,
} from '../errors.ts'
import { isOpen, type IncidentSeverity } from '../incidents/incident.ts'
import type { Message, Notifier } from './notifier.ts'
import { sendToTarget } from './post-json.ts'
import { allowPrivateTarget, refuseTarget } from './safe-target.ts'

/** What every notifier by HTTP takes. */
interface TargetOptions {
  /** Accepts `http:` and private addresses. */
  readonly [allowPrivateTarget]?: true
}

/** What {@link createWebhookNotifier} takes. */
export interface WebhookOptions extends TargetOptions {
  /** `https:`, at a public address. */
  readonly url: string
  /** Signs the body: at least 24 characters. The first one signs first; receivers may know any of them. */
  readonly secrets: readonly [string, ...string[]]
}

const MIN_SECRET = 24

/**
 * Sends each message as a signed webhook: `webhook-id`, `webhook-timestamp`, `webhook-signature`. A secret
 * `whsec_<base64>` is used as its bytes.
 *
 * @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT
 * @see https://www.standardwebhooks.com
 */
export function createWebhookNotifier(options: WebhookOptions): Notifier {
  const { url, secrets } = options
  if (
    !Array.isArray(secrets) ||
    secrets.length === 0 ||
    secrets.some((each) => typeof each !== 'string' || keyOf(each).length < MIN_SECRET)
  ) {
    const form = `"whsec_" and the Base64 of at least ${MIN_SECRET} bytes`
    refuse(
      '"secrets"',
      `must be a list of texts of at least ${MIN_SECRET} characters, or of ${form}`,
    )
  }
  const keys = secrets.map(keyOf)
  return createTarget('webhook', url, options, (message) => {
    const body = JSON.stringify(webhookBody(message))
    const timestamp = String(Math.floor(message.sentAt / 1000))
    const signed = `${message.key}.${timestamp}.${body}`
    const signature = keys
      .map((key) => `v1,${createHmac('sha256', key).update(signed).digest('base64')}`)
      .join(' ')
    const headers = {
      'webhook-id': message.key,
      'webhook-timestamp': timestamp,
      'webhook-signature': signature,
    }
    return { body, headers }
  })
}

/** Empty, where the Base64 is malformed: a lenient decoder would make a short key of it. */
function keyOf(secret: string): Buffer {
  const PREFIX = 'whsec_'
  if (!secret.startsWith(PREFIX)) return Buffer.from(secret)
  const encoded = secret.slice(PREFIX.length)
  const key = Buffer.from(encoded, 'base64')
  const isSound = key.toString('base64').replaceAll('=', '') === encoded.replaceAll('=', '')
  return isSound ? key : Buffer.alloc(0)
}

function webhookBody({ reason, title, text, url, sentAt, incident }: Message): object {
  const timestamp = new Date(sentAt).toISOString()
  return { type: `incident.${reason}`, timestamp, data: { title, text, url, incident } }
}

/** What {@link createSlackNotifier} takes. */
export interface SlackOptions extends TargetOptions {
  /** The URL of an incoming webhook. It is a secret. */
  readonly url: string
}

const COLOURS: Readonly<Record<IncidentSeverity, string>> = {
  low: '#4c8bf5',
  medium: '#e0b400',
  high: '#e8710a',
  critical: '#c5221f',
}

/** Sends each message to a channel of Slack, or of a service that reads the same format. */
export function createSlackNotifier(options: SlackOptions): Notifier {
  return createTarget('slack', options.url, options, ({ title, text, url, severity }) => {
    const link =
      url === null ? [] : [{ type: 'mrkdwn', text: `<${escapeSlack(url)}|Open the incident>` }]
    const blocks = [
      { type: 'header', text: { type: 'plain_text', text: cut(title, 150) } },
      { type: 'section', text: { type: 'plain_text', text: cut(text, 3000) } },
      ...(link.length === 0 ? [] : [{ type: 'context', elements: link }]),
    ]
    // Plain text: names in it must not become mentions of a whole channel.
    const body = { text: escapeSlack(title), attachments: [{ color: COLOURS[severity], blocks }] }
    return { body: JSON.stringify(body), headers: {} }
  })
}

/** A character that is cut in two would make the JSON invalid for some receivers. */
function cut(text: string, max: number): string {
  return text.slice(0, max).toWellFormed()
}

function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** What {@link createPagerDutyNotifier} takes. */
export interface PagerDutyOptions extends TargetOptions {
  /** The integration key of a service. */
  readonly routingKey: string
  /** @default 'https://events.pagerduty.com/v2/enqueue' */
  readonly url?: string
  /** The affected system, as PagerDuty shows it. @default 'parapet' */
  readonly source?: string
}

const PAGERDUTY_SEVERITY: Readonly<Record<IncidentSeverity, string>> = {
  low: 'info',
  medium: 'warning',
  high: 'error',
  critical: 'critical',
}

/** Triggers and resolves one alert of PagerDuty for each incident. @see Events API v2 */
export function createPagerDutyNotifier(options: PagerDutyOptions): Notifier {
  const {
    routingKey,
    url = 'https://events.pagerduty.com/v2/enqueue',
    source = 'parapet',
  } = options
  if (typeof routingKey !== 'string' || routingKey === '') refuse('"routingKey"', 'must be a text')
  return createTarget('pagerduty', url, options, (message) => {
    const { title, text, severity, incident, sentAt, url: link } = message
    const action = isOpen(incident) ? 'trigger' : 'resolve'
    const body = {
      routing_key: routingKey,
      event_action: action,
      dedup_key: incident.id,
      client: '@parapet/incident-response',
      ...(link !== null && { client_url: link, links: [{ href: link, text: 'The incident' }] }),
      payload: {
        summary: cut(title, 1024),
        source,
        severity: PAGERDUTY_SEVERITY[severity],
        timestamp: new Date(sentAt).toISOString(),
        class: incident.type,
        custom_details: { text, phase: incident.phase, findings: incident.findings },
      },
    }
    return { body: JSON.stringify(body), headers: {} }
  })
}

/** Makes a notifier that posts JSON. */
function createTarget(
  name: string,
  url: string,
  options: TargetOptions,
  write: (message: Message) => {
    readonly body: string
    readonly headers: Readonly<Record<string, string>>
  },
): Notifier {
  const allowPrivate = options[allowPrivateTarget] === true
  const problem = refuseTarget(url, allowPrivate)
  if (problem !== undefined) refuse(`"url" of the ${name} notifier`, problem)
  const call = async (method: string, body: string, headers: object, signal: AbortSignal) => {
    const all = { 'content-type': 'application/json', ...headers }
    try {
      return await sendToTarget({ method, url, headers: all, body, signal, allowPrivate })
    } catch (error) {
      // The message of the error may quote the URL, which may be a secret.
      const reason = signal.aborted ? 'no answer in time' : reasonOf(error)
      throw new PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED(name, reason)
    }
  }
  return {
    async send(message, signal) {
      const { body, headers } = write(message)
      const status = await call('POST', body, headers, signal)
      if (status >= 200 && status < 300) return
      throw new PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED(name, `the status was ${status}`)
    },
    // Any answer shows that the receiver is there.
    check: async (signal) => void (await call('HEAD', '', {}, signal)),
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string }
  if (typeof code === 'string') return code
  return /^the (?:address|name) /.test(message ?? '') ? message! : 'the connection failed'
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(what, problem)
}
