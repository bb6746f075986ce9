/**
 * Violation reports: read strictly, stripped of what may be secret, deduplicated and limited.
 * @see W3C Reporting API, section 3.1; W3C CSP Level 3, section 5
 */
import type { Clock, SecurityEventTypes } from '@parapet/kit'

/** A report made safe to keep. */
export type Report = Omit<SecurityEventTypes['security_headers.violation_reported'], 'suppressed'>

type Fields = Readonly<Record<string, unknown>>

const MAX_REPORTS = 100
const MAX_TEXT = 200
const MAX_SAMPLE = 40

/** Report types of the Reporting API, by the kind that events carry. */
const KINDS: ReadonlyMap<string, string> = new Map([
  ['csp-violation', 'csp'],
  ['coep', 'coep'],
  ['coop', 'coop'],
  ['permissions-policy-violation', 'permissions-policy'],
  ['integrity-violation', 'integrity'],
  ['deprecation', 'deprecation'],
  ['network-error', 'network-error'],
])

/**
 * Reads a body of either media type.
 *
 * @returns `null`: it is no report. What is no report in a list of them is left out.
 */
export function readReports(body: unknown): Report[] | null {
  if (Array.isArray(body)) {
    const entries = body.slice(0, MAX_REPORTS).filter(isFields)
    return entries.length === 0 ? null : entries.map(readModern).filter((report) => report !== null)
  }
  const legacy = isFields(body) ? body['csp-report'] : undefined
  return isFields(legacy) ? [readLegacy(legacy)] : null
}

function readModern(entry: Fields): Report | null {
  const { type, url, body } = entry
  if (typeof type !== 'string' || !isFields(body)) return null
  return {
    kind: KINDS.get(type) ?? 'other',
    disposition: body['disposition'] === 'report' ? 'report' : 'enforce',
    directive: token(
      body['effectiveDirective'] ?? body['policyId'] ?? body['featureId'] ?? body['id'] ?? type,
    ),
    blocked: originOf(body['blockedURL'] ?? body['blockedUrl'] ?? body['destination']),
    page: placeOf(body['documentURL'] ?? url, false),
    source: placeOf(body['sourceFile'], true),
    line: count(body['lineNumber']),
    column: count(body['columnNumber']),
    sample: text(body['sample'], MAX_SAMPLE),
  }
}

function readLegacy(body: Fields): Report {
  return {
    kind: 'csp',
    disposition: body['disposition'] === 'report' ? 'report' : 'enforce',
    directive: token(body['effective-directive'] ?? body['violated-directive']),
    blocked: originOf(body['blocked-uri']),
    page: placeOf(body['document-uri'], false),
    source: placeOf(body['source-file'], true),
    line: count(body['line-number']),
    column: count(body['column-number']),
    sample: text(body['script-sample'], MAX_SAMPLE),
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Printable and short: what a stranger wrote ends up in logs and consoles. */
function text(value: unknown, most: number): string {
  if (typeof value !== 'string') return ''
  return value
    .slice(0, most)
    .replaceAll(/[^\P{C}]/gu, ' ')
    .toWellFormed()
}

function token(value: unknown): string {
  return /^[\w-]{1,64}/.exec(text(value, 64))?.[0] ?? ''
}

function count(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0
}

/** A word (`inline`, `eval`) as it is, of a URL the origin or the scheme only. */
function originOf(value: unknown): string {
  const given = text(value, 2048)
  if (/^[a-z-]{0,32}$/.test(given)) return given
  if (!URL.canParse(given)) return ''
  const { origin, protocol } = new URL(given)
  return (origin === 'null' ? protocol : origin).slice(0, MAX_TEXT)
}

/** A path without query, and with every segment masked that may name a person or be a secret. */
function placeOf(value: unknown, withOrigin: boolean): string {
  const given = text(value, 2048)
  if (!URL.canParse(given)) return ''
  const { origin, pathname } = new URL(given)
  if (origin === 'null') return ''
  const path = pathname
    .split('/')
    .map((segment) => (/^[a-z._-]{0,24}$/i.test(segment) ? segment : ':masked'))
    .join('/')
  return `${withOrigin ? origin : ''}${path}`.slice(0, MAX_TEXT)
}

/** What the gate may hold and let through. */
export interface ReportLimits {
  /** Reports alike are told once in this time. */
  readonly windowMs: number
  /** Reports a minute, from everyone together. */
  readonly maxPerMinute: number
  /** Reports a minute from one client. */
  readonly maxPerClientPerMinute: number
}

/** The answer of {@link ReportGate.admit}. */
type Admission = { readonly admitted: boolean; readonly suppressed: number }

/** Lets through what is new and not too much. Its memory is bounded. */
export interface ReportGate {
  /** Whether this client may post so many reports now. */
  takes(client: string, reports: number): boolean
  /** Whether the report is to be told, and how many alike were not. */
  admit(report: Report): Admission
}

const MINUTE_MS = 60_000
const MAX_KNOWN = 1000

/** Makes a gate. */
export function createReportGate(limits: ReportLimits, clock: Pick<Clock, 'now'>): ReportGate {
  return { takes: createLimiter(limits, clock), admit: createSieve(limits, clock) }
}

function createLimiter(limits: ReportLimits, clock: Pick<Clock, 'now'>): ReportGate['takes'] {
  const clients = new Map<string, number>()
  let minute = 0
  let total = 0
  return (client, reports) => {
    // Not nothing, so that the memory of clients is bounded by the total.
    const amount = Math.max(1, reports)
    const now = Math.floor(clock.now() / MINUTE_MS)
    if (now !== minute) {
      minute = now
      total = 0
      clients.clear()
    }
    const mine = (clients.get(client) ?? 0) + amount
    if (mine > limits.maxPerClientPerMinute || total + amount > limits.maxPerMinute) return false
    clients.set(client, mine)
    total += amount
    return true
  }
}

function createSieve({ windowMs }: ReportLimits, clock: Pick<Clock, 'now'>): ReportGate['admit'] {
  const known = new Map<string, { since: number; suppressed: number }>()
  return (report) => {
    const { kind, disposition, directive, blocked, page, source, line } = report
    const key = JSON.stringify([kind, disposition, directive, blocked, page, source, line])
    const now = clock.now()
    const before = known.get(key)
    if (before !== undefined && now - before.since < windowMs) {
      before.suppressed++
      return { admitted: false, suppressed: before.suppressed }
    }
    known.delete(key)
    if (known.size >= MAX_KNOWN) known.delete(known.keys().next().value!)
    known.set(key, { since: now, suppressed: 0 })
    return { admitted: true, suppressed: before?.suppressed ?? 0 }
  }
}
