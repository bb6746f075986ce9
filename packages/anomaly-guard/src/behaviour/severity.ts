/** How bad an anomaly is, and what to do about it. */
import type { AnomalySeverity, RecommendedAction } from './types.ts'

const MAX_FAILURES = 5
const MAX_BYTES = 1e9

/** The severity, by how much of the way from the threshold to 1 the score has gone. */
export function severityOf(score: number, threshold: number): AnomalySeverity {
  const margin = (score - threshold) / (1 - threshold)
  if (margin >= 0.5) return 'critical'
  if (margin >= 0.3) return 'high'
  return margin >= 0.12 ? 'medium' : 'low'
}

/** The recommended action: repeated failed logins and bulk transfer say more than a score. */
export function recommend(
  severity: AnomalySeverity,
  counts: { readonly failedAuthentications: number; readonly bytesOut: number },
): RecommendedAction {
  if (counts.failedAuthentications > MAX_FAILURES) return 'block-address'
  if (counts.bytesOut > MAX_BYTES) return 'limit'
  return severity === 'critical' ? 'investigate' : 'monitor'
}
