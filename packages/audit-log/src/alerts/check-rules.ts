/** Validates alert rules at boot, because a rule that can never match would stay unnoticed. */
import { isAlertKey, KEY_NAMES } from './keys.ts'
import type { AlertMatch, AlertRule } from './rules.ts'

const MAX_ABOVE = 10_000
const MEMBERS = ['name', 'match', 'by', 'windowMs', 'above', 'distinct', 'sequence', 'severity']
const SEVERITIES: readonly unknown[] = [undefined, 'low', 'medium', 'high', 'critical']
const RESULTS: readonly unknown[] = [undefined, 'success', 'failure', 'unknown']
const PATTERN = /^(?:\*?[a-z0-9_.]+|[a-z0-9_.]+\*|\*)$/

/** The problem of a list of rules, or `undefined`. */
export function checkRules(value: unknown): string | undefined {
  if (!Array.isArray(value)) return 'must be an array of alert rules'
  const names = new Set<unknown>()
  for (const rule of value as Partial<AlertRule>[]) {
    if (typeof rule !== 'object' || rule === null) return 'must contain objects only'
    if (typeof rule.name !== 'string' || !/^[a-z][a-z0-9_]{0,63}$/.test(rule.name)) {
      return 'must have rules with names like "many_exports" (a-z, 0-9, _, at most 64)'
    }
    if (names.has(rule.name)) return `must not have two rules with the name "${rule.name}"`
    names.add(rule.name)
    const fault = faultOf(rule)
    if (fault !== undefined) return `has an invalid rule "${rule.name}": ${fault}`
  }
  return undefined
}

function faultOf(rule: Partial<AlertRule>): string | undefined {
  const { match, by, windowMs, above, distinct, sequence, severity } = rule
  const unknown = Object.keys(rule).find((name) => !MEMBERS.includes(name))
  if (unknown !== undefined) return `"${unknown}" is unknown, known are ${MEMBERS.join(', ')}`
  if (!Number.isSafeInteger(windowMs) || windowMs! < 1)
    return '"windowMs" must be a positive integer (milliseconds)'
  if (!isMatch(match))
    return '"match.actions" must be action names, or patterns with one "*" at the start or end'
  if (by !== undefined && !isAlertKey(by)) return `"by" must be one of ${KEY_NAMES}`
  if (!SEVERITIES.includes(severity)) return '"severity" must be low, medium, high or critical'
  const ways = [above, distinct, sequence].filter((way) => way !== undefined)
  if (ways.length !== 1) return 'it must have exactly one of "above", "distinct" and "sequence"'
  if (sequence !== undefined) {
    const isSequence = Array.isArray(sequence) && sequence.length > 0 && sequence.every(isMatch)
    return isSequence ? undefined : '"sequence" must be an array of matches'
  }
  if (distinct !== undefined && !isAlertKey(distinct?.of))
    return `"distinct.of" must be one of ${KEY_NAMES}`
  const bound = distinct === undefined ? above : distinct.above
  const isBound = Number.isSafeInteger(bound) && bound! >= 0 && bound! <= MAX_ABOVE
  return isBound ? undefined : `"above" must be an integer from 0 to ${MAX_ABOVE}`
}

function isMatch(value: unknown): value is AlertMatch {
  const { actions, result } = (value ?? {}) as Partial<AlertMatch>
  return (
    Array.isArray(actions) &&
    actions.every((pattern) => typeof pattern === 'string' && PATTERN.test(pattern)) &&
    RESULTS.includes(result)
  )
}
