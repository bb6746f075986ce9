/** Times over many incidents: to detect, acknowledge, contain and recover. Pure. */
import { severities, type Incident, type IncidentSeverity } from '../incidents/incident.ts'

/** Times of several incidents, in milliseconds; `null`: of none. */
interface Times {
  readonly count: number
  readonly mean: number | null
  readonly median: number | null
  readonly p90: number | null
}

/** The metrics of a time. False positives and duplicates are counted, and have no times. */
export interface IncidentMetrics {
  readonly count: number
  readonly open: number
  readonly falsePositives: number
  readonly bySeverity: Readonly<Record<IncidentSeverity, number>>
  readonly byType: Readonly<Record<string, number>>
  /** Incidents that were escalated because nobody acknowledged them in time. */
  readonly late: number
  /** Mean time to detect, and so on. */
  readonly detectMs: Times
  readonly acknowledgeMs: Times
  readonly containMs: Times
  readonly recoverMs: Times
}

/** Computes the metrics. */
export function metricsOf(incidents: readonly Incident[]): IncidentMetrics {
  const real = incidents.filter(
    ({ resolution }) => resolution === null || resolution === 'resolved',
  )
  const times = (
    end: (incident: Incident) => number | null,
    start = (each: Incident) => each.openedAt,
  ) =>
    timesOf(
      real.flatMap((incident) => {
        const at = end(incident)
        return at === null ? [] : [Math.max(0, at - start(incident))]
      }),
    )
  const count = <K extends string>(keyOf: (incident: Incident) => K) => {
    const counts = Object.create(null) as Record<K, number>
    for (const incident of incidents) counts[keyOf(incident)] = (counts[keyOf(incident)] ?? 0) + 1
    return counts
  }
  const bySeverity = count(({ severity }) => severity)
  return {
    count: incidents.length,
    open: incidents.filter(({ phase }) => phase !== 'closed').length,
    falsePositives: incidents.filter(({ resolution }) => resolution === 'false_positive').length,
    bySeverity: Object.fromEntries(
      severities.map((severity) => [severity, bySeverity[severity] ?? 0]),
    ) as IncidentMetrics['bySeverity'],
    byType: { ...count(({ type }) => type) },
    late: incidents.filter(({ escalations }) => escalations > 0).length,
    detectMs: times(
      ({ openedAt }) => openedAt,
      ({ firstSeenAt }) => firstSeenAt,
    ),
    acknowledgeMs: times(({ acknowledgedAt }) => acknowledgedAt),
    containMs: times(({ containedAt }) => containedAt),
    recoverMs: times(({ recoveredAt }) => recoveredAt),
  }
}

function timesOf(values: readonly number[]): Times {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null
  const sum = sorted.reduce((total, value) => total + value, 0)
  const middle = sorted.length / 2
  const isEven = sorted.length % 2 === 0
  const median =
    sorted.length === 0
      ? null
      : isEven
        ? (sorted[middle - 1]! + sorted[middle]!) / 2
        : sorted[Math.floor(middle)]!
  const mean = sorted.length === 0 ? null : Math.round(sum / sorted.length)
  return { count: sorted.length, mean, median, p90: at(0.9) }
}
