/** The overview: one sentence, four numbers, two charts, and what needs a person. */
import { useMemo, useState } from 'preact/hooks'
import { get } from '../api/client.ts'
import type { Containment, ContainmentPage, FeedEvent, Me } from '../api/types.ts'
import { Bar } from '../ui/bar.tsx'
import { EventDialog } from '../ui/event-dialog.tsx'
import { FeedList } from '../ui/feed.tsx'
import { formatCount, formatDuration, formatExact, formatShare, formatWords } from '../ui/format.ts'
import { useLive, useOnEvent } from '../ui/live.tsx'
import { Day } from '../ui/moment.tsx'
import { Panel } from '../ui/panel.tsx'
import { Reason } from '../ui/reason.tsx'
import { linkTo } from '../ui/routes.ts'
import { Empty, Loaded } from '../ui/states.tsx'
import { useNow } from '../ui/use-now.ts'
import { useResource } from '../ui/use-resource.ts'
import { IncidentLines } from './incident-lines.tsx'
import { describeNow, moodOf, sumOf } from './overview-sentence.ts'
import { Health } from './health.tsx'
import { LatencyChart, TrafficChart } from './overview-charts.tsx'
import { Tiles } from './overview-tiles.tsx'

const HOUR = 60

/** The page. */
export function Overview({ me }: { readonly me: Me }) {
  const { events, minutes } = useLive()
  const [opened, setOpened] = useState<FeedEvent>()
  const containments = useResource(() => get<ContainmentPage>('/console/containments?limit=5'))
  useOnEvent('anomaly_guard.', containments.reload)
  const hour = useMemo(() => minutes.slice(-HOUR), [minutes])
  const contained = containments.data?.total ?? 0
  return (
    <>
      <div class={`overview-head mood-${moodOf(hour)}`}>
        <h1 class="sentence" tabIndex={-1}>
          {describeNow(hour, contained)}
        </h1>
        <Health />
      </div>
      <Tiles minutes={hour} />
      <div class="overview-grid">
        <Panel title="Traffic" class="area-traffic" aside={<span>by minute, last hour</span>}>
          <TrafficChart minutes={hour} />
        </Panel>
        <Panel title="Latency" class="area-latency" aside={<span>of all responses</span>}>
          <LatencyChart minutes={hour} />
        </Panel>
        <Panel title="Live feed" class="area-feed" aside={<a href={linkTo('feed')}>All events</a>}>
          {events.length === 0 ? (
            <Empty title="Nothing yet" text="Security events appear here as they happen." />
          ) : (
            <FeedList events={events.slice(0, 40)} onOpen={setOpened} />
          )}
        </Panel>
        <Panel
          title="Open incidents"
          class="area-incidents"
          aside={<a href={linkTo('incidents')}>Queue</a>}
        >
          <IncidentLines />
        </Panel>
        <Panel
          title="In force"
          class="area-blocks"
          aside={<a href={linkTo('blocks')}>Block list</a>}
        >
          <Loaded resource={containments} rows={3}>
            {({ items }) => <ContainmentLines items={items} />}
          </Loaded>
        </Panel>
        <Panel title="Where it comes from" class="area-sources" aside={<span>latest events</span>}>
          <Sources events={events} />
        </Panel>
      </div>
      <p class="foot">
        Counted since <Day time={me.recordingSince} /> by the instance that answered;{' '}
        {formatCount(sumOf(hour).requests)} requests in the last hour.
      </p>
      {opened && <EventDialog event={opened} onClose={() => setOpened(undefined)} />}
    </>
  )
}

function ContainmentLines({ items }: { readonly items: readonly Containment[] }) {
  const now = useNow(15_000)
  if (items.length === 0) {
    return <Empty title="Nothing is contained" text="Blocks and other measures appear here." />
  }
  return (
    <ul class="lines">
      {items.map(({ id, kind, target, until, reason }) => (
        <li key={id} class="line">
          <span class={`tag tag-${kind}`}>{formatWords(kind)}</span>
          <span class="line-main">
            <code>{target.value === '' ? 'the service' : target.value}</code>
            <span class="line-sub line-short" title={reason}>
              <Reason text={reason} />
            </span>
          </span>
          <span class="line-end" title={`until ${formatExact(until)}`}>
            {formatDuration(until - now, 1)} left
          </span>
        </li>
      ))}
    </ul>
  )
}

/** The addresses with the most events that failed. */
function Sources({ events }: { readonly events: readonly FeedEvent[] }) {
  const failed = events.filter(({ outcome, ip }) => outcome !== 'success' && ip !== undefined)
  const counts = new Map<string, number>()
  for (const { ip } of failed) counts.set(ip!, (counts.get(ip!) ?? 0) + 1)
  const top = [...counts].toSorted((a, b) => b[1] - a[1]).slice(0, 6)
  if (top.length === 0) {
    return <Empty title="No refusals" text="Addresses that were refused are ranked here." />
  }
  const most = top[0]![1]
  return (
    <ul class="ranks">
      {top.map(([ip, count]) => (
        <li key={ip} class="rank">
          <code>{ip}</code>
          <Bar share={count / most} color="medium" />
          <span class="rank-count">
            {formatCount(count)} <small>{formatShare(count, failed.length)}</small>
          </span>
        </li>
      ))}
    </ul>
  )
}
