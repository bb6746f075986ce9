/** The four numbers of the overview, each with its last hour. */
import type { Minute } from '../api/types.ts'
import { Sparkline } from '../ui/chart.tsx'
import { formatCount, formatLatency, formatShare } from '../ui/format.ts'
import { sumOf } from './overview-sentence.ts'

const requestsOf = ({ answered, refused, failed }: Minute) => answered + refused + failed

/** The numbers. */
export function Tiles({ minutes }: { readonly minutes: readonly Minute[] }) {
  const { requests, refused, failed, anomalies, alarms } = sumOf(minutes)
  // The minute that runs is not complete.
  const last = minutes.at(-2)
  const latest = minutes.findLast(({ p95 }) => p95 !== null)
  return (
    <ul class="tiles">
      <Tile
        label="Requests"
        value={formatCount(last === undefined ? 0 : requestsOf(last))}
        unit="last minute"
        note={`${formatCount(requests)} in the hour`}
        values={minutes.map(requestsOf)}
        color="calm"
      />
      <Tile
        label="Refused"
        value={formatShare(refused, requests)}
        unit="of the hour"
        note={`${formatCount(refused)} refused, ${formatCount(failed)} failed`}
        values={minutes.map((minute) => minute.refused + minute.failed)}
        color="medium"
      />
      <Tile
        label="Anomalies"
        value={formatCount(anomalies)}
        unit="in the hour"
        note={`${formatCount(alarms)} high or critical events`}
        values={minutes.map((minute) => minute.anomalies + minute.alarms)}
        color="high"
      />
      <Tile
        label="Latency"
        value={formatLatency(latest?.p95 ?? null)}
        unit="95 of 100 faster"
        note={`median ${formatLatency(latest?.p50 ?? null)}`}
        values={minutes.map(({ p95 }) => p95 ?? 0)}
        color="low"
      />
    </ul>
  )
}

function Tile({
  label,
  value,
  unit,
  note,
  values,
  color,
}: {
  readonly label: string
  readonly value: string
  readonly unit: string
  readonly note: string
  readonly values: readonly number[]
  readonly color: string
}) {
  return (
    <li class="tile">
      <p class="tile-label">{label}</p>
      <p class="tile-value">
        {value} <span class="tile-unit">{unit}</span>
      </p>
      <Sparkline values={values} color={color} />
      <p class="tile-note">{note}</p>
    </li>
  )
}
