/** Removes waived findings, and checks the waivers themselves. */
import type { Waiver } from '../policy/policy.ts'
import { rules, type Finding, type RuleId } from './rules.ts'

/**
 * Removes the findings that are waived.
 *
 * @param accepted the ids of rules that the preset breaks by design.
 * @param now milliseconds since the epoch.
 * @returns the remaining findings, and one finding for each invalid waiver.
 */
export function applyWaivers(
  findings: readonly Finding[],
  waivers: readonly Waiver[],
  accepted: readonly string[],
  now: number,
): Finding[] {
  const waived = new Set(accepted)
  const invalid: Finding[] = []
  for (const waiver of waivers) {
    const rule = ruleBrokenBy(waiver, now)
    if (rule === null) waived.add(waiver.rule)
    else invalid.push({ rule, where: 'a waiver', found: `${waiver.rule} until ${waiver.until}` })
  }
  return [...findings.filter(({ rule }) => !waived.has(rule)), ...invalid]
}

const DAY_MS = 86_400_000
/** The days before and after the last one in which an event warns every day. */
const WARNING_DAYS = 30
const GRACE_MS = WARNING_DAYS * DAY_MS
const MIN_REASON_LENGTH = 10
/** A leap year, and the last day itself. */
const MAX_MS = 367 * DAY_MS

function ruleBrokenBy({ rule, reason, until }: Waiver, now: number): RuleId | null {
  // The waiver is valid until the end of its last day.
  const end = Date.parse(`${until}T00:00:00Z`) + DAY_MS
  if (!Object.hasOwn(rules, rule)) return 'WAIVER-UNKNOWN'
  if (reason.trim().length < MIN_REASON_LENGTH) return 'WAIVER-VAGUE'
  // Not `end <= now`: an invalid date gives NaN, which must count as expired. The clock alone must
  // not stop a restart, so events warn before and after the last day.
  if (!(end + GRACE_MS > now)) return 'WAIVER-EXPIRED'
  return end > now + MAX_MS ? 'WAIVER-TOO-LONG' : null
}

/** A waiver that is about to stop the next start. */
export interface AgedWaiver {
  readonly rule: string
  readonly until: string
  /** Full days until the end of its last day; negative after that. */
  readonly daysLeft: number
}

/** Finds the waivers that have expired or expire soon. @param now milliseconds since the epoch. */
export function findAgedWaivers(waivers: readonly Waiver[], now: number): AgedWaiver[] {
  const unique = new Map(waivers.map((waiver) => [`${waiver.rule} ${waiver.until}`, waiver]))
  return [...unique.values()]
    .map(({ rule, until }) => ({ rule, until, daysLeft: daysUntil(until, now) }))
    .filter(({ daysLeft }) => daysLeft < WARNING_DAYS)
}

function daysUntil(until: string, now: number): number {
  return Math.floor((Date.parse(`${until}T00:00:00Z`) + DAY_MS - now) / DAY_MS)
}
