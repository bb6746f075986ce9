/** Alert rules: what is watched, and the sliding windows that watch it. */
import { createHash } from 'node:crypto'
import type { AuditEntry } from '../log/reader.ts'
import type { AuditResult } from '../record/leaf.ts'
import { projectRecord, type Projection } from '../store/projection.ts'

/** Which records count; every member narrows. */
export interface AlertMatch {
  /** Names, or patterns with one `*` at the start or the end. */
  readonly actions: readonly string[]
  readonly result?: AuditResult
}

/** A member by which records are counted apart. */
type AlertKey = 'principal' | 'ip' | 'session' | 'tenant' | 'resourceId'

/** One rule: exactly one of `above`, `distinct` and `sequence` says when it raises. */
export interface AlertRule {
  /** Names the alert: lower case, `_`. */
  readonly name: string
  readonly match: AlertMatch
  /** Counted apart for each; records without it do not count. @default all together */
  readonly by?: AlertKey
  /** The length of the window in milliseconds. */
  readonly windowMs: number
  /** Raises when more records than this match within the window. */
  readonly above?: number
  /** Raises when the matching records have more different values of a member than this. */
  readonly distinct?: { readonly of: AlertKey; readonly above: number }
  /** Raises when, after a match, these follow one another within the window. */
  readonly sequence?: readonly AlertMatch[]
  /** @default 'high' */
  readonly severity?: 'low' | 'medium' | 'high' | 'critical'
}

/** An alert. */
export interface Alert {
  /** The same for the same records, whoever raises it. */
  readonly id: string
  readonly rule: string
  readonly severity: 'low' | 'medium' | 'high' | 'critical'
  /** The value of `by`, or empty. */
  readonly key: string
  readonly count: number
  /** The entry that raised it. */
  readonly index: number
}

const MINUTE_MS = 60_000
const LOGINS = [
  'auth.login',
  'auth.login_failed',
  'sessions.login_failed',
  'sessions.login_refused',
]
const ROLES = ['user.role.*', '*.role.change', '*.role_changed', 'rbac.role_*']
const EXPORTS = ['*.export', '*.exported', 'audit_log.log_exported']

/** The rules that hold unless the option `alerts` names others. */
export const builtInRules: readonly AlertRule[] = Object.freeze([
  {
    name: 'failed_logins_by_principal',
    match: { actions: LOGINS, result: 'failure' },
    by: 'principal',
    windowMs: 5 * MINUTE_MS,
    above: 5,
  },
  {
    name: 'failed_logins_by_ip',
    match: { actions: LOGINS, result: 'failure' },
    by: 'ip',
    windowMs: 5 * MINUTE_MS,
    above: 5,
  },
  {
    name: 'failed_role_change',
    match: { actions: ROLES, result: 'failure' },
    windowMs: MINUTE_MS,
    above: 0,
  },
  {
    name: 'many_exports',
    match: { actions: EXPORTS },
    by: 'principal',
    windowMs: 60 * MINUTE_MS,
    above: 10,
    severity: 'medium',
  },
])

interface Hit {
  readonly time: number
  readonly value: string
}

interface Window {
  hits: Hit[]
  /** Of a sequence: how many steps have been seen. */
  step: number
  startedAt: number
  /** Raised alerts stay quiet until the window has passed. */
  quietUntil: number
}

const MAX_KEYS = 10_000
/** How far an alert's count goes beyond its bound. */
const COUNTED_BEYOND = 1000
/** The column behind each key. */
export const KEY_COLUMNS: Readonly<Record<AlertKey, keyof Projection>> = {
  principal: 'principal',
  ip: 'ip',
  session: 'session',
  tenant: 'tenant',
  resourceId: 'resource_id',
}

/** Watches the log, entry by entry, by the times in the records: the same entries raise the same alerts. */
export class AlertEngine {
  readonly #watches: readonly { rule: AlertRule; windows: Map<string, Window> }[]

  constructor(rules: readonly AlertRule[]) {
    this.#watches = rules.map((rule) => ({ rule, windows: new Map() }))
  }

  /** How far back a fresh engine must look. */
  get longestWindowMs(): number {
    return Math.max(0, ...this.#watches.map(({ rule }) => rule.windowMs))
  }

  /** Forgets everything. */
  reset(): void {
    for (const { windows } of this.#watches) windows.clear()
  }

  /** Takes the next entry. */
  observe({ record, index }: AuditEntry): Alert[] {
    // An alert must not feed on alerts.
    if (record.action === 'audit_log.alert_raised') return []
    const row = projectRecord(record)
    return this.#watches.flatMap(({ rule, windows }) => {
      const key = rule.by === undefined ? '' : row[KEY_COLUMNS[rule.by]]
      if (typeof key !== 'string') return []
      const window = windows.get(key)
      if (window === undefined && !matches(rule.match, row)) return []
      const current = window ?? { hits: [], step: 0, startedAt: 0, quietUntil: 0 }
      // Renewed, so that the keys at the front are the ones not seen for longest.
      windows.delete(key)
      windows.set(key, current)
      if (windows.size > MAX_KEYS) windows.delete(windows.keys().next().value!)
      const count =
        rule.sequence === undefined ? hit(rule, current, row) : follow(rule, current, row)
      if (count === 0 || row.time < current.quietUntil) return []
      current.quietUntil = row.time + rule.windowMs
      const id = createHash('sha256').update(`${rule.name}\n${key}\n${index}`).digest('hex')
      const severity = rule.severity ?? 'high'
      return [{ id: id.slice(0, 32), rule: rule.name, severity, key, count, index }]
    })
  }
}

/** How many hits are over the bound's edge; 0 while the rule is kept. */
function hit(rule: AlertRule, window: Window, row: Projection): number {
  if (!matches(rule.match, row)) return 0
  const value = rule.distinct === undefined ? '' : row[KEY_COLUMNS[rule.distinct.of]]
  if (typeof value !== 'string') return 0
  window.hits = window.hits.filter(({ time }) => time > row.time - rule.windowMs)
  if (rule.distinct !== undefined) {
    window.hits = window.hits.filter((earlier) => earlier.value !== value)
  }
  window.hits.push({ time: row.time, value })
  if (window.hits.length > aboveOf(rule) + COUNTED_BEYOND) window.hits.shift()
  return window.hits.length > aboveOf(rule) ? window.hits.length : 0
}

function aboveOf({ above, distinct }: AlertRule): number {
  return distinct?.above ?? above ?? 0
}

/** The number of steps when the last one was taken. */
function follow(rule: AlertRule, window: Window, row: Projection): number {
  const steps = [rule.match, ...(rule.sequence ?? [])]
  if (window.step > 0 && row.time > window.startedAt + rule.windowMs) window.step = 0
  if (!matches(steps[window.step]!, row)) return 0
  if (window.step === 0) window.startedAt = row.time
  window.step++
  if (window.step < steps.length) return 0
  window.step = 0
  return steps.length
}

function matches({ actions, result }: AlertMatch, row: Projection): boolean {
  if (result !== undefined && row.result !== result) return false
  return actions.some((pattern) => matchesPattern(pattern, row.action))
}

function matchesPattern(pattern: string, action: string): boolean {
  if (pattern.startsWith('*')) return action.endsWith(pattern.slice(1))
  if (pattern.endsWith('*')) return action.startsWith(pattern.slice(0, -1))
  return pattern === action
}
