/** Whether alert rules can be followed: a rule that never raises would be missed by nobody. */
import { KEY_COLUMNS, type AlertMatch, type AlertRule } from './rules.ts'

const MAX_ABOVE = 10_000
const MEMBERS = ['name', 'match', 'by', 'windowMs', 'above', 'distinct', 'sequence', 'severity']
const SEVERITIES: readonly unknown[] = [undefined, 'low', 'medium', 'high', 'critical']
const RESULTS: readonly unknown[] = [undefined, 'success', 'failure', 'unknown']
const PATTERN = /^(?:\*?[a-z0-9_.]+|[a-z0-9_.]+\*|\*)$/

/** What is wrong with a list of rules, or `undefined`. */
export function checkRules(value: unknown): string | undefined {
  if (!Array.isArray(value)) return 'must be an array of rules'
  const names = new Set<unknown>()
  for (const rule of value as Partial<AlertRule>[]) {
    if (typeof rule !== 'object' || rule === null) return 'must hold rules'
    if (typeof rule.name !== 'string' || !/^[a-z][a-z0-9_]{0,63}$/.test(rule.name)) {
      return 'must hold rules with names like "many_exports"'
    }
    if (names.has(rule.name)) return `has two rules named "${rule.name}"`
    names.add(rule.name)
    const fault = faultOf(rule)
    if (fault !== undefined) return `"${rule.name}" ${fault}`
  }
  return undefined
}

function faultOf(rule: Partial<AlertRule>): string | undefined {
  const { match, by, windowMs, above, distinct, sequence, severity } = rule
  const unknown = Object.keys(rule).find((name) => !MEMBERS.includes(name))
  if (unknown !== undefined) return `has the unknown member "${unknown}"`
  if (!Number.isSafeInteger(windowMs) || windowMs! < 1) return 'needs "windowMs", in milliseconds'
  if (!isMatch(match)) return 'needs "match.actions": names, or patterns with one "*" at an end'
  if (by !== undefined && !isKey(by)) return 'counts "by" what no record has'
  if (!SEVERITIES.includes(severity)) return 'has an unknown "severity"'
  const ways = [above, distinct, sequence].filter((way) => way !== undefined)
  if (ways.length !== 1) return 'needs one of "above", "distinct" and "sequence"'
  if (sequence !== undefined) {
    const isSequence = Array.isArray(sequence) && sequence.length > 0 && sequence.every(isMatch)
    return isSequence ? undefined : 'needs matches in "sequence"'
  }
  if (distinct !== undefined && !isKey(distinct?.of)) return 'needs "distinct.of"'
  const bound = distinct === undefined ? above : distinct.above
  const isBound = Number.isSafeInteger(bound) && bound! >= 0 && bound! <= MAX_ABOVE
  return isBound ? undefined : `needs "above" from 0 to ${MAX_ABOVE}`
}

function isKey(value: unknown): boolean {
  return typeof value === 'string' && Object.hasOwn(KEY_COLUMNS, value)
}

function isMatch(value: unknown): value is AlertMatch {
  const { actions, result } = (value ?? {}) as Partial<AlertMatch>
  return (
    Array.isArray(actions) &&
    actions.every((pattern) => typeof pattern === 'string' && PATTERN.test(pattern)) &&
    RESULTS.includes(result)
  )
}
