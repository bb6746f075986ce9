/** Open or closed: the choice above a queue. */

type State = 'open' | 'closed'

/** The choice. */
export function Segments({
  label,
  value,
  onValue,
}: {
  readonly label: string
  readonly value: State
  readonly onValue: (value: State) => void
}) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {(['open', 'closed'] as const).map((each) => (
        <button
          key={each}
          type="button"
          class="segment"
          aria-pressed={value === each}
          onClick={() => onValue(each)}
        >
          {each}
        </button>
      ))}
    </div>
  )
}
