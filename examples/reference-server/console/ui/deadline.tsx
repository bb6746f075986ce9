/** The time to react to an incident. */
import type { Incident } from '../api/incidents.ts'
import { formatActor, formatDuration, formatExact } from './format.ts'
import { useNow } from './use-now.ts'

const REFRESH_MS = 15_000

/** Until when somebody must react, or who has. */
export function Deadline({ incident }: { readonly incident: Incident }) {
  const { acknowledgedAt, acknowledgedBy, respondBy, needsPerson } = incident
  const waits =
    needsPerson === 0
      ? ''
      : `, ${needsPerson} ${needsPerson === 1 ? 'step waits' : 'steps wait'} for a person`
  if (acknowledgedAt !== null) {
    return (
      <span class="deadline">
        Acknowledged{acknowledgedBy === null ? '' : ` by ${formatActor(acknowledgedBy)}`}
        {waits}
      </span>
    )
  }
  if (respondBy === null) return <span class="deadline">Not acknowledged{waits}</span>
  return <Countdown respondBy={respondBy} waits={waits} />
}

function Countdown({ respondBy, waits }: { readonly respondBy: number; readonly waits: string }) {
  const left = respondBy - useNow(REFRESH_MS)
  return (
    <span
      class={left < 0 ? 'deadline deadline-over' : 'deadline'}
      title={`until ${formatExact(respondBy)}`}
    >
      {left < 0 ? `Overdue for ${formatDuration(-left)}` : `Respond within ${formatDuration(left)}`}
      {waits}
    </span>
  )
}
