/** The live feed: security events and the counters of the current minute, as server-sent events. */
import { Readable } from 'node:stream'
import type { Clock } from '@parapet/kit'
import { passes, type FeedEvent, type FeedFilter } from './recent-events.ts'
import type { ConsoleRecords } from './recorder.ts'

/** What a stream needs. */
export interface StreamSettings {
  readonly records: ConsoleRecords
  readonly filter: FeedFilter
  readonly clock: Clock
  /** When the stream ends by itself: the reader connects again, with a credential that is checked. */
  readonly until: number
}

/** A browser draws at most so often. */
const FLUSH_MS = 250
/** Events in one flush; the others are only counted, so that a flood of events does not flood the reader. */
const MAX_PER_FLUSH = 60
/** A flood of small events must not hide a serious one. */
const MAX_ALARMS_PER_FLUSH = 240
/** Also keeps the connection open: proxies, and this server, close one that is idle for long. */
const MINUTE_EVERY_MS = 5000
/** A reader that does not read loses events instead of filling the memory. */
const MAX_BUFFERED_BYTES = 262_144

const doNothing = (): void => {}

/** Creates a stream; destroying or ending it stops it. */
export function createEventStream({ records, filter, clock, until }: StreamSettings): Readable {
  let waiting: FeedEvent[] = []
  let skipped = 0
  let minuteDueAt = clock.now() + MINUTE_EVERY_MS
  let cancelTimer = doNothing
  const stream = new Readable({
    highWaterMark: 16_384,
    read() {},
    destroy(error, done) {
      stopListening()
      cancelTimer()
      done(error)
    },
  })
  const send = (event: string, data: unknown): void => {
    stream.push(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
  }
  const flush = (): void => {
    if (clock.now() >= until) {
      send('end', {})
      stream.push(null)
      return
    }
    const isSlow = stream.readableLength > MAX_BUFFERED_BYTES
    if (waiting.length > 0 && !isSlow) {
      send('events', { events: waiting, skipped })
      waiting = []
      skipped = 0
    }
    if (clock.now() >= minuteDueAt && !isSlow) {
      minuteDueAt = clock.now() + MINUTE_EVERY_MS
      send('minute', records.counters.current())
    }
    schedule()
  }
  const schedule = (): void => {
    cancelTimer = clock.schedule(FLUSH_MS, flush)
  }
  const stopListening = records.events.listen((event) => {
    if (!passes(event, filter)) return
    const isAlarm = event.severity === 'high' || event.severity === 'critical'
    if (waiting.length < (isAlarm ? MAX_ALARMS_PER_FLUSH : MAX_PER_FLUSH)) waiting.push(event)
    else skipped++
  })
  send('minute', records.counters.current())
  schedule()
  return stream
}
