/** Finds incidents: anomalies with a common subject that together show one kind of attack. Pure. */
import type { Severity } from '@parapet/kit'
import type { Label, Subject } from '../rules/rule.ts'
import type { Anomaly } from './anomaly.ts'

/** What an incident is, as playbooks name it. */
export type Pattern =
  | 'brute_force'
  | 'data_exfiltration'
  | 'denial_of_service'
  | 'account_takeover'
  | 'reconnaissance'
  | 'intrusion_attempt'
  | 'other'

/** Related anomalies. */
export interface Incident {
  /** The id of its first anomaly. */
  readonly id: string
  readonly pattern: Pattern
  /** The label of its most telling anomaly. */
  readonly label: Label
  readonly severity: Severity
  /** From 0 to 1: how sure it is that this is an attack of that pattern. */
  readonly confidence: number
  readonly openedAt: number
  readonly updatedAt: number
  /** The addresses, principals and accounts of its anomalies. */
  readonly subjects: readonly Subject[]
  /** Ids of its anomalies, the oldest first. */
  readonly evidence: readonly string[]
}

/** What a label says about patterns: how likely it alone makes each. */
const WEIGHTS: Readonly<Record<string, readonly [Pattern, number]>> = {
  brute_force: ['brute_force', 0.8],
  credential_stuffing: ['brute_force', 0.9],
  password_spraying: ['brute_force', 0.9],
  distributed_brute_force: ['brute_force', 0.85],
  token_guessing: ['brute_force', 0.6],
  enumeration: ['data_exfiltration', 0.75],
  scraping: ['data_exfiltration', 0.6],
  mass_export: ['data_exfiltration', 0.85],
  slow_exfiltration: ['data_exfiltration', 0.7],
  large_transfer: ['data_exfiltration', 0.75],
  file_access: ['data_exfiltration', 0.5],
  flood: ['denial_of_service', 0.8],
  limit_abuse: ['denial_of_service', 0.5],
  token_theft: ['account_takeover', 0.85],
  session_hopping: ['account_takeover', 0.95],
  account_takeover: ['account_takeover', 0.9],
  scanning: ['reconnaissance', 0.85],
  forbidden_access: ['reconnaissance', 0.5],
  detection_point: ['intrusion_attempt', 0.5],
  payload_attack: ['intrusion_attempt', 0.9],
  unusual_behaviour: ['other', 0.4],
}

const SEVERITIES: readonly Severity[] = ['info', 'low', 'medium', 'high', 'critical']
/** Floods of so many clients at once are one attack on the service. */
const DISTRIBUTED_FLOOD = 5

/** The pattern that a label belongs to. */
export function patternOf(label: Label): Pattern {
  return WEIGHTS[label]?.[0] ?? 'other'
}

/**
 * Correlates anomalies.
 *
 * @param anomalies those of the last minutes, in any order.
 * @returns one incident for each pattern and subject, the latest first. An anomaly that an operator has
 *   called false belongs to none.
 */
export function correlate(anomalies: readonly Anomaly[]): Incident[] {
  const groups = new Map<string, Anomaly[]>()
  const genuine = anomalies.filter(({ verdict }) => verdict !== 'false-positive')
  const floods = genuine.filter(({ label }) => label === 'flood')
  const isDistributed =
    new Set(floods.map(({ subject }) => subject.address)).size >= DISTRIBUTED_FLOOD
  for (const anomaly of genuine.toSorted((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))) {
    const subject = isDistributed && anomaly.label === 'flood' ? 'everyone' : mainOf(anomaly)
    const key = `${patternOf(anomaly.label)} ${subject}`
    groups.set(key, [...(groups.get(key) ?? []), anomaly])
  }
  return [...groups.values()].map(toIncident).toSorted((a, b) => b.updatedAt - a.updatedAt)
}

/** The subject that ties anomalies together: the account that is attacked, else the client that attacks. */
function mainOf({ label, subject }: Anomaly): string {
  const { account, principalId, address } = subject
  if (label === 'distributed_brute_force') return `account:${account}`
  // Takeovers are tied together by the attacker's address; the principals are victims.
  const isVictim = patternOf(label) === 'brute_force' || patternOf(label) === 'account_takeover'
  if (principalId !== undefined && !isVictim) return `id:${principalId}`
  return `address:${address ?? principalId ?? account}`
}

function toIncident(anomalies: readonly Anomaly[]): Incident {
  const [first] = anomalies
  const last = anomalies.at(-1)!
  const telling = anomalies.reduce((best, each) =>
    weightOf(each.label) > weightOf(best.label) ? each : best,
  )
  const rank = Math.max(...anomalies.map(({ severity }) => SEVERITIES.indexOf(severity)))
  // Each further rule that agrees leaves less room for doubt; repetitions of one rule do not.
  const byRule = new Map(anomalies.map(({ rule, label }) => [rule, weightOf(label)]))
  const doubt = [...byRule.values()].reduce((product, weight) => product * (1 - weight), 1)
  return {
    id: first!.id,
    pattern: patternOf(telling.label),
    label: telling.label,
    severity: SEVERITIES[rank] ?? 'medium',
    confidence: Math.round((1 - doubt) * 1000) / 1000,
    openedAt: first!.time,
    updatedAt: last.time,
    subjects: distinctSubjects(anomalies),
    evidence: anomalies.map(({ id }) => id),
  }
}

function weightOf(label: Label): number {
  return WEIGHTS[label]?.[1] ?? 0.4
}

function distinctSubjects(anomalies: readonly Anomaly[]): Subject[] {
  const known = new Map(anomalies.map(({ subject }) => [JSON.stringify(subject), subject]))
  return [...known.values()].slice(0, 100)
}
