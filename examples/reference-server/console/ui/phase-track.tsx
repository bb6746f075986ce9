/** The phases of an incident as a track. */
import { PHASES } from '../api/incidents.ts'
import { formatWords } from './format.ts'

/** The track; the present phase is named. */
export function PhaseTrack({ phase }: { readonly phase: string }) {
  const at = PHASES.findIndex((each) => each === phase)
  return (
    <ol class="track" aria-label={`Phase: ${formatWords(phase)}`}>
      {PHASES.map((each, index) => (
        <li
          key={each}
          class={index < at ? 'track-past' : index === at ? 'track-now' : 'track-next'}
          aria-current={index === at ? 'step' : undefined}
        >
          <span class="track-bar" aria-hidden="true" />
          <span class="track-name">{formatWords(each)}</span>
        </li>
      ))}
    </ol>
  )
}
