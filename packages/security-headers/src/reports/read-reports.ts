/**
 * Reads violation reports and removes everything that may be secret.
 * @see W3C Reporting API, section 3.1; W3C CSP Level 3, section 5
 */
import type { SecurityEventTypes } from '@parapet/kit'

/** A report that is safe to log: short, printable, without queries and identifiers. */
export type Report = Omit<SecurityEventTypes['security_headers.violation_reported'], 'suppressed'>

type Fields = Readonly<Record<string, unknown>>

const MAX_REPORTS = 100
const MAX_TEXT_LENGTH = 200
const MAX_SAMPLE_LENGTH = 40

/** The `kind` of an event by the report type of the Reporting API. */
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
 * Reads a request body of either media type. Invalid entries of a list are left out.
 *
 * @returns `null` if the body contains no report.
 */
export function readReports(body: unknown): Report[] | null {
  if (Array.isArray(body)) {
    const entries = body.slice(0, MAX_REPORTS).filter(isFields)
    return entries.length === 0
      ? null
      : entries.map(readReportingApi).filter((report) => report !== null)
  }
  const legacy = isFields(body) ? body['csp-report'] : undefined
  return isFields(legacy) ? [readReportUri(legacy)] : null
}

function readReportingApi(entry: Fields): Report | null {
  const { type, url, body } = entry
  if (typeof type !== 'string' || !isFields(body)) return null
  return {
    kind: KINDS.get(type) ?? 'other',
    disposition: body['disposition'] === 'report' ? 'report' : 'enforce',
    directive: token(
      body['effectiveDirective'] ?? body['policyId'] ?? body['featureId'] ?? body['id'] ?? type,
    ),
    blocked: originOf(body['blockedURL'] ?? body['blockedUrl'] ?? body['destination']),
    page: maskedPath(body['documentURL'] ?? url, false),
    source: maskedPath(body['sourceFile'], true),
    line: count(body['lineNumber']),
    column: count(body['columnNumber']),
    sample: text(body['sample'], MAX_SAMPLE_LENGTH),
  }
}

function readReportUri(body: Fields): Report {
  return {
    kind: 'csp',
    disposition: body['disposition'] === 'report' ? 'report' : 'enforce',
    directive: token(body['effective-directive'] ?? body['violated-directive']),
    blocked: originOf(body['blocked-uri']),
    page: maskedPath(body['document-uri'], false),
    source: maskedPath(body['source-file'], true),
    line: count(body['line-number']),
    column: count(body['column-number']),
    sample: text(body['script-sample'], MAX_SAMPLE_LENGTH),
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Shortens text and removes control characters: reports are untrusted and are shown in logs. */
function text(value: unknown, maxLength: number): string {
  if (typeof value !== 'string') return ''
  return value
    .slice(0, maxLength)
    .replaceAll(/[^\P{C}]/gu, ' ')
    .toWellFormed()
}

function token(value: unknown): string {
  return /^[\w-]{1,64}/.exec(text(value, 64))?.[0] ?? ''
}

function count(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0
}

/** Keeps a keyword (`inline`, `eval`). Reduces a URL to its origin or scheme. */
function originOf(value: unknown): string {
  const given = text(value, 2048)
  if (/^[a-z-]{0,32}$/.test(given)) return given
  if (!URL.canParse(given)) return ''
  const { origin, protocol } = new URL(given)
  return (origin === 'null' ? protocol : origin).slice(0, MAX_TEXT_LENGTH)
}

/** Reduces a URL to its path, and masks every segment that may contain an identifier or a secret. */
function maskedPath(value: unknown, withOrigin: boolean): string {
  const given = text(value, 2048)
  if (!URL.canParse(given)) return ''
  const { origin, pathname } = new URL(given)
  if (origin === 'null') return ''
  const path = pathname
    .split('/')
    .map((segment) => (/^[a-z._-]{0,24}$/i.test(segment) ? segment : ':masked'))
    .join('/')
  return `${withOrigin ? origin : ''}${path}`.slice(0, MAX_TEXT_LENGTH)
}
