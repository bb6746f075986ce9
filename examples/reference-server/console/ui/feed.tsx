/** The list of security events. */
import type { FeedEvent } from '../api/types.ts'
import { formatWords, shortId } from './format.ts'
import { Clock } from './moment.tsx'
import { SeverityMark } from './severity.tsx'

/** Events in lines, the newest first. */
export function FeedList({
  events,
  onOpen,
}: {
  readonly events: readonly FeedEvent[]
  readonly onOpen: (event: FeedEvent) => void
}) {
  return (
    <ol class="feed">
      {events.map((event) => (
        <li key={event.id}>
          <button type="button" class="feed-row" onClick={() => onOpen(event)}>
            <SeverityMark severity={event.severity} />
            <span class="feed-line">
              <EventName type={event.type} />
              <Clock time={event.time} />
            </span>
            <span class="feed-line">
              <span class="feed-detail">{describe(event)}</span>
              <span class="feed-who">
                {event.ip ?? (event.principalId ? shortId(event.principalId) : '')}
              </span>
            </span>
          </button>
        </li>
      ))}
    </ol>
  )
}

/** `rbac.denied`, with the plugin in a quieter tone. */
function EventName({ type }: { readonly type: string }) {
  const [source, name = ''] = type.split('.')
  return (
    <span class="event-name">
      <span class="event-source">{formatWords(source ?? '')}</span> {formatWords(name)}
    </span>
  )
}

/** Words instead of names, and the ends of ids. */
function shorten(text: string): string {
  const parts = text.split(/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/)
  return parts.map((part, at) => (at % 2 === 1 ? shortId(part) : formatWords(part))).join('')
}

/** The details that say most, in one line. */
function describe({ details, route }: FeedEvent): string {
  const chosen = ['reason', 'kind', 'label', 'rule', 'tier', 'target', 'permission', 'method']
    .map((name) => details[name])
    .filter((value): value is string => typeof value === 'string' && value !== '')
  const parts = [...new Set(chosen)].slice(0, 2).map(shorten)
  return [...parts, route].filter((part) => part !== undefined && part !== '').join(' · ')
}
