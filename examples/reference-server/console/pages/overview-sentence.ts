/** What happens now, in one sentence. */
import type { Minute } from '../api/types.ts'
import { formatCount } from '../ui/format.ts'

/** Sums over minutes. */
export function sumOf(minutes: readonly Minute[]) {
  const total = { requests: 0, refused: 0, failed: 0, anomalies: 0, alarms: 0 }
  for (const { answered, refused, failed, anomalies, alarms } of minutes) {
    total.requests += answered + refused + failed
    total.refused += refused
    total.failed += failed
    total.anomalies += anomalies
    total.alarms += alarms
  }
  return total
}

/** What colours the head of the overview: the worst of the last 15 minutes. */
export function moodOf(minutes: readonly Minute[]): 'calm' | 'watch' | 'alarm' {
  const { alarms, anomalies, failed } = sumOf(minutes.slice(-15))
  if (alarms > 0) return 'alarm'
  return anomalies > 0 || failed > 0 ? 'watch' : 'calm'
}

/** @param minutes the last hour @param contained how many measures are in force */
export function describeNow(minutes: readonly Minute[], contained: number): string {
  if (minutes.length === 0) return 'Waiting for the first numbers.'
  const recent = sumOf(minutes.slice(-15))
  const { refused, failed } = sumOf(minutes)
  const measures =
    contained === 0 ? '' : ` ${plural(contained, 'measure is', 'measures are')} in force.`
  if (recent.alarms > 0) {
    return `${plural(recent.alarms, 'alarm', 'alarms')} in the last 15 minutes.${measures}`
  }
  if (failed > 0)
    return `${plural(failed, 'request', 'requests')} failed in the last hour.${measures}`
  if (recent.anomalies > 0) {
    return `${plural(recent.anomalies, 'anomaly', 'anomalies')} in the last 15 minutes.${measures}`
  }
  if (refused > 0) return `All quiet. ${formatCount(refused)} refused in the last hour.${measures}`
  return `All quiet.${measures}`
}

function plural(count: number, one: string, many: string): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}
