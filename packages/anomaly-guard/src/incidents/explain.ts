/** Anomalies and incidents in words, for the person who has to decide. */
import { formatTarget, type Containment } from '../contain/containment.ts'
import type { Subject } from '../rules/rule.ts'
import type { Anomaly } from './anomaly.ts'
import type { Incident } from './correlate.ts'

/** Why something was detected and what was done. */
export interface Explanation {
  readonly anomaly: Anomaly
  /** The incident that it belongs to, if it is recent. */
  readonly incident: Incident | undefined
  /** What is in force because of it. */
  readonly containments: readonly Containment[]
  /** The same, one sentence each. */
  readonly sentences: readonly string[]
}

/** Explains an anomaly. */
export function explainAnomaly(
  anomaly: Anomaly,
  incidents: readonly Incident[],
  active: readonly Containment[],
): Explanation {
  const incident = incidents.find(({ evidence }) => evidence.includes(anomaly.id))
  const containments = causedBy(anomaly, active)
  return {
    anomaly,
    incident,
    containments,
    sentences: [
      describe(anomaly),
      ...(anomaly.reasons ?? []),
      ...(incident === undefined ? [] : [describeIncident(incident)]),
      ...(containments.length > 0
        ? containments.map(describeContainment)
        : [describeMode(anomaly)]),
      ...(anomaly.verdict === undefined ? [] : [`An operator called it a ${anomaly.verdict}.`]),
    ],
  }
}

/**
 * The automatic containments of an anomaly, or of its subject: another instance may have contained the subject
 * for the same reason before this anomaly was recorded.
 */
export function causedBy(
  { id, rule, subject: { address, principalId, account } }: Anomaly,
  active: readonly Containment[],
): Containment[] {
  const names = new Set([`address:${address}`, `principal:${principalId}`, `account:${account}`])
  return active.filter(
    ({ anomalyId, by, target, reason }) =>
      anomalyId === id ||
      (by === null && names.has(formatTarget(target)) && reason.endsWith(`(rule ${rule})`)),
  )
}

function describe({ rule, label, subject, evidence, route, time }: Anomaly): string {
  const { count, limit, withinMs, ...others } = evidence
  const facts = Object.entries(others).map(([name, value]) => `${name} ${value}`)
  const reading =
    count === undefined
      ? ''
      : ` counted ${count} in ${(withinMs ?? 0) / 1000} s, its limit is ${limit}`
  return (
    `${new Date(time).toISOString()}: the rule "${rule}"${reading} for ${describeSubject(subject)}` +
    `${route === undefined ? '' : ` on ${route}`}; it calls this ${label}` +
    `${facts.length === 0 ? '' : ` (${facts.join(', ')})`}.`
  )
}

function describeSubject({ address, principalId, account }: Subject): string {
  const parts = [
    principalId === undefined ? undefined : `principal ${principalId}`,
    address === undefined ? undefined : `address ${address}`,
    account === undefined ? undefined : `account #${account.slice(0, 8)}`,
  ]
  return parts.filter((part) => part !== undefined).join(', ') || 'the service'
}

function describeIncident({ pattern, confidence, evidence }: Incident): string {
  return `It is part of an incident of ${evidence.length} anomalies: ${pattern}, confidence ${confidence}.`
}

function describeContainment({ kind, target, until, id }: Containment): string {
  return `In force: ${kind} of ${formatTarget(target)} until ${new Date(until).toISOString()} (${id}).`
}

function describeMode({ mode }: Anomaly): string {
  if (mode === 'enforce') return 'Nothing is in force because of it.'
  return `The rule is in mode "${mode}": nothing was contained.`
}
