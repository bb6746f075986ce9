/** Alert rules, and the engine that evaluates them in sliding windows. */
import { createHash } from 'node:crypto'
import type { AuditEntry } from '../log/entries.ts'
import type { AuditRecord, AuditResult } from '../record/leaf.ts'
import { projectRecord, type Projection } from '../record/projection.ts'
import { keyOf, type AlertKey } from './keys.ts'

/** The records that a rule counts; a record must match every member. */
export interface AlertMatch {
  /** Names, or patterns with one `*` at the start or the end. */
  readonly actions: readonly string[]
  readonly result?: AuditResult
}

/** One rule. Exactly one of `above`, `distinct` and `sequence` is its condition. */
export interface AlertRule {
  /** The name of the alert: `a-z`, `0-9`, `_`. */
  readonly name: string
  readonly match: AlertMatch
  /** Counts separately per value (IPv6: per /64); records without it do not count. @default one count for all */
  readonly by?: AlertKey
  /** The length of the window in milliseconds. */
  readonly windowMs: number
  /** Raises the alert when more records than this match within the window. */
  readonly above?: number
  /** Raises the alert when matching records have more distinct values of a member than `above`. */
  readonly distinct?: { readonly of: AlertKey; readonly above: number }
  /** Raises the alert when these matches follow `match`, in order, within the window. */
  readonly sequence?: readonly AlertMatch[]
  /** @default 'high' */
  readonly severity?: 'low' | 'medium' | 'high' | 'critical'
}

/** A raised alert. */
export interface Alert {
  /** The same records give the same id in every process. */
  readonly id: string
  readonly rule: string
  readonly severity: 'low' | 'medium' | 'high' | 'critical'
  /** The value of `by`; empty without `by`. */
  readonly key: string
  readonly count: number
  /** The index of the entry that completed the condition. */
  readonly index: number
}

const MINUTE_MS = 60_000
const LOGINS = ['auth.login', 'auth.login_failed', 'sessions.login_failed']
const ROLES = ['user.role.*', '*.role.change', '*.role_changed', 'rbac.role_*']
const EXPORTS = ['*.export', '*.exported', 'audit_log.log_exported']

/** The default of the option `alerts`. */
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
    // A login that is refused has no principal yet; sessions name the account by a hash.
    name: 'failed_logins_by_account',
    match: { actions: LOGINS, result: 'failure' },
    by: 'data.loginHash',
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
  /** For a sequence: the number of steps seen so far. */
  step: number
  startedAt: number
  /** After an alert the rule raises no other one until this time. */
  quietUntil: number
}

const MAX_KEYS = 10_000
/** Hits above the bound that are still counted. */
const COUNTED_BEYOND = 1000

/** A rule, and its windows by key. */
interface Watch {
  readonly rule: AlertRule
  readonly windows: Map<string, Window>
}

/** How many names of actions are remembered with their rules; beyond it all are found again. */
const MAX_ACTIONS = 1000

/** Evaluates the rules by the times in the records, so that the same entries raise the same alerts. */
export class AlertEngine {
  readonly #watches: readonly Watch[]
  /** Most records are of actions that no rule counts. */
  readonly #watchesOf = new Map<string, readonly Watch[]>()

  constructor(rules: readonly AlertRule[]) {
    this.#watches = rules.map((rule) => ({ rule, windows: new Map() }))
  }

  /** The longest window: how far back a new engine must read. */
  get longestWindowMs(): number {
    return Math.max(0, ...this.#watches.map(({ rule }) => rule.windowMs))
  }

  /** Clears all windows. */
  reset(): void {
    for (const { windows } of this.#watches) windows.clear()
  }

  /** Evaluates the next entry. @returns the alerts that it raises */
  observe({ record, index }: AuditEntry): Alert[] {
    // An alert must not cause further alerts.
    if (record.action === 'audit_log.alert_raised') return []
    const watches = this.#find(record.action)
    if (watches.length === 0) return []
    const row = projectRecord(record)
    return watches.flatMap(({ rule, windows }) => {
      const key = rule.by === undefined ? '' : keyOf(rule.by, record, row)
      if (key === undefined) return []
      const window = windows.get(key)
      if (window === undefined && !matches(rule.match, row)) return []
      const current = window ?? { hits: [], step: 0, startedAt: 0, quietUntil: 0 }
      // Inserted again, so that the first key of the map is the least recently seen one.
      windows.delete(key)
      windows.set(key, current)
      if (windows.size > MAX_KEYS) windows.delete(windows.keys().next().value!)
      const count =
        rule.sequence === undefined ? hit(rule, current, record, row) : follow(rule, current, row)
      if (count === 0 || row.time < current.quietUntil) return []
      current.quietUntil = row.time + rule.windowMs
      const id = createHash('sha256').update(`${rule.name}\n${key}\n${index}`).digest('hex')
      const severity = rule.severity ?? 'high'
      return [{ id: id.slice(0, 32), rule: rule.name, severity, key, count, index }]
    })
  }

  #find(action: string): readonly Watch[] {
    const known = this.#watchesOf.get(action)
    if (known !== undefined) return known
    const found = this.#watches.filter(({ rule }) => countsAction(rule, action))
    if (this.#watchesOf.size >= MAX_ACTIONS) this.#watchesOf.clear()
    this.#watchesOf.set(action, found)
    return found
  }
}

function countsAction({ match, sequence = [] }: AlertRule, action: string): boolean {
  return [match, ...sequence].some(({ actions }) => matchesAny(actions, action))
}

/** The number of hits in the window, if it is above the bound; else 0. */
function hit(rule: AlertRule, window: Window, record: AuditRecord, row: Projection): number {
  if (!matches(rule.match, row)) return 0
  const value = rule.distinct === undefined ? '' : keyOf(rule.distinct.of, record, row)
  if (value === undefined) return 0
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

/** The number of steps, if this record completes the sequence; else 0. */
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
  return matchesAny(actions, row.action)
}

function matchesAny(patterns: readonly string[], action: string): boolean {
  return patterns.some((pattern) => matchesPattern(pattern, action))
}

function matchesPattern(pattern: string, action: string): boolean {
  if (pattern.startsWith('*')) return action.endsWith(pattern.slice(1))
  if (pattern.endsWith('*')) return action.startsWith(pattern.slice(0, -1))
  return pattern === action
}
