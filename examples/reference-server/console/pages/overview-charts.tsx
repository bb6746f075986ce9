/** The charts of the overview. */
import { useMemo } from 'preact/hooks'
import type { Minute } from '../api/types.ts'
import { TimeChart, type ChartSeries } from '../ui/chart.tsx'
import { formatCount, formatLatency } from '../ui/format.ts'
import { sumOf } from './overview-sentence.ts'

const HEIGHT = 176

/** Requests by minute: answered, refused and failed on top of each other. */
export function TrafficChart({ minutes }: { readonly minutes: readonly Minute[] }) {
  const { requests, refused, failed, anomalies } = sumOf(minutes)
  const times = useMemo(() => minutes.map(({ time }) => time), [minutes])
  const series = useMemo(() => stack(minutes), [minutes])
  const summary =
    `Requests by minute in the last hour: ${formatCount(requests)} in all, ` +
    `${formatCount(refused)} refused, ${formatCount(failed)} failed, ` +
    `${formatCount(anomalies)} anomalies.`
  return (
    <TimeChart
      summary={summary}
      times={times}
      series={series}
      format={(value) => formatCount(value ?? 0)}
      height={HEIGHT}
    />
  )
}

/** The highest sum is drawn first, and the others over it. */
function stack(minutes: readonly Minute[]): ChartSeries[] {
  const failed = minutes.map((minute) => minute.failed)
  const refused = minutes.map((minute) => minute.refused)
  const answered = minutes.map((minute) => minute.answered)
  const upToRefused = minutes.map((minute) => minute.answered + minute.refused)
  const all = minutes.map((minute) => minute.answered + minute.refused + minute.failed)
  return [
    { label: 'failed', color: 'fill-failed', kind: 'bar', values: failed, drawn: all },
    { label: 'refused', color: 'fill-refused', kind: 'bar', values: refused, drawn: upToRefused },
    { label: 'answered', color: 'fill-answered', kind: 'bar', values: answered, drawn: answered },
  ]
}

/** Latency by minute. */
export function LatencyChart({ minutes }: { readonly minutes: readonly Minute[] }) {
  const times = useMemo(() => minutes.map(({ time }) => time), [minutes])
  const series = useMemo(
    (): ChartSeries[] => [
      { label: '99 %', color: 'high', kind: 'line', values: minutes.map(({ p99 }) => p99) },
      { label: '95 %', color: 'low', kind: 'area', values: minutes.map(({ p95 }) => p95) },
      { label: 'median', color: 'calm', kind: 'line', values: minutes.map(({ p50 }) => p50) },
    ],
    [minutes],
  )
  const latest = minutes.findLast(({ p95 }) => p95 !== null)
  const summary =
    `Latency by minute in the last hour. Latest: median ${formatLatency(latest?.p50 ?? null)}, ` +
    `95 of 100 below ${formatLatency(latest?.p95 ?? null)}.`
  return (
    <TimeChart
      summary={summary}
      times={times}
      series={series}
      format={formatLatency}
      height={HEIGHT}
    />
  )
}
