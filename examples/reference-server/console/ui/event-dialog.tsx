/** One event with everything that it says. */
import type { FeedEvent } from '../api/types.ts'
import { Dialog } from './dialog.tsx'
import { Facts } from './facts.tsx'
import { formatExact } from './format.ts'
import { SeverityMark } from './severity.tsx'

/** The dialog. */
export function EventDialog({
  event,
  onClose,
}: {
  readonly event: FeedEvent
  readonly onClose: () => void
}) {
  const { details, id, time, type, severity, ...subject } = event
  return (
    <Dialog title={type} onClose={onClose}>
      <p class="dialog-text">
        <SeverityMark severity={severity} label /> at {formatExact(time)}
      </p>
      <Facts facts={subject} />
      {Object.keys(details).length > 0 && (
        <>
          <h3>Details</h3>
          <Facts facts={details} />
        </>
      )}
      <p class="dialog-foot">
        Event <code>{id}</code>
      </p>
    </Dialog>
  )
}
