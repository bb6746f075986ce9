/** The live feed with filters and a pause. */
import { useEffect, useState } from 'preact/hooks'
import type { FeedEvent, Severity } from '../api/types.ts'
import { EventDialog } from '../ui/event-dialog.tsx'
import { FeedList } from '../ui/feed.tsx'
import { formatCount, formatWords } from '../ui/format.ts'
import { Icon } from '../ui/icons.tsx'
import { useLive } from '../ui/live.tsx'
import { PageHead } from '../ui/panel.tsx'
import { SelectField } from '../ui/select-field.tsx'
import { SEVERITIES } from '../ui/severity.tsx'
import { Empty } from '../ui/states.tsx'

const SOURCES = [
  'anomaly_guard',
  'audit_log',
  'incident_response',
  'input_guard',
  'mfa',
  'privacy',
  'rate_limits',
  'rbac',
  'secrets',
  'security_headers',
  'sessions',
]

/** The page. */
export function Feed() {
  const { events, skipped, setQuery } = useLive()
  const [severity, setSeverity] = useState<Severity | ''>('')
  const [source, setSource] = useState('')
  const [text, setText] = useState('')
  const [paused, setPaused] = useState<readonly FeedEvent[]>()
  const [opened, setOpened] = useState<FeedEvent>()
  useEffect(() => {
    const filter = new URLSearchParams()
    if (severity !== '') filter.set('severity', severity)
    if (source !== '') filter.set('source', source)
    setQuery(filter.size === 0 ? '' : `?${filter.toString()}`)
  }, [severity, source])
  // The other pages need every event.
  useEffect(() => () => setQuery(''), [])

  const shown = (paused ?? events).filter((event) => matches(event, text))
  const fresh = paused === undefined ? 0 : newerThan(events, paused[0])
  return (
    <>
      <PageHead
        title="Live feed"
        text="What the plugins report, as it happens, from every client and route."
      >
        <button
          type="button"
          class="button"
          aria-pressed={paused !== undefined}
          onClick={() => setPaused(paused === undefined ? events : undefined)}
        >
          <Icon name={paused === undefined ? 'pause' : 'play'} size={16} />
          {paused === undefined
            ? 'Pause'
            : `Resume${fresh > 0 ? `, ${formatCount(fresh)} new` : ''}`}
        </button>
      </PageHead>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <SelectField
          label="At least"
          value={severity}
          onValue={(value) => setSeverity(value as Severity)}
        >
          {['', ...SEVERITIES].map((value) => (
            <option key={value} value={value}>
              {value === '' ? 'any severity' : value}
            </option>
          ))}
        </SelectField>
        <SelectField label="From" value={source} onValue={setSource}>
          <option value="">every plugin</option>
          {SOURCES.map((value) => (
            <option key={value} value={value}>
              {formatWords(value)}
            </option>
          ))}
        </SelectField>
        <label class="field field-grow">
          <span class="field-label">Contains</span>
          <input
            class="input"
            type="search"
            placeholder="address, route, request id"
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
        </label>
      </form>
      <div class="panel panel-flush feed-page">
        {shown.length === 0 ? (
          <Empty
            icon="feed"
            title="No such event"
            text="New events that match appear here by themselves."
          />
        ) : (
          <FeedList events={shown} onOpen={setOpened} />
        )}
      </div>
      {skipped > 0 && (
        <p class="foot">
          {formatCount(skipped)} further events were too many to show; they are in the audit trail.
        </p>
      )}
      {opened && <EventDialog event={opened} onClose={() => setOpened(undefined)} />}
    </>
  )
}

function matches(event: FeedEvent, text: string): boolean {
  return text === '' || JSON.stringify(event).toLowerCase().includes(text.trim().toLowerCase())
}

function newerThan(events: readonly FeedEvent[], last: FeedEvent | undefined): number {
  const index = events.findIndex(({ id }) => id === last?.id)
  return index === -1 ? events.length : index
}
