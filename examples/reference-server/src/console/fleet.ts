/** Shares events and counters among the instances, so that each console shows the whole fleet. */
import { uuidV7, type Clock } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { MinuteCounters, SharedMinute } from './minute-counters.ts'
import { SEVERITIES, type FeedEvent, type RecentEvents } from './recent-events.ts'

/** What is shared. */
export interface FleetSettings {
  readonly events: RecentEvents
  readonly counters: MinuteCounters
  readonly clock: Clock
}

/** One message of an instance. */
interface Message {
  readonly instance: string
  readonly minute: SharedMinute
  readonly events: readonly FeedEvent[]
}

/** What was missed is of the past: the next messages go on. */
const ignore = (): void => {}

const CHANNEL = 'reference-server:console'
const EVERY_MS = 1000
/** A flood of events must not become a flood of messages; the audit log has all of them. */
const MAX_EVENTS = 100
const MAX_MESSAGE = 262_144
/** The last time that a `Date` can be. */
const MAX_TIME = 8.64e15

/** Sends what is new every second, and receives what others send. */
export function shareRecords(
  app: FastifyInstance,
  { events, counters, clock }: FleetSettings,
): void {
  const instance = uuidV7()
  let own: FeedEvent[] = []
  let isReceiving = false
  const stopListening = events.listen((event) => {
    // Events of other instances are not sent back.
    if (!isReceiving && own.length < MAX_EVENTS) own.push(event)
  })
  const receive = (text: string): void => {
    const message = text.length > MAX_MESSAGE ? undefined : parseMessage(text)
    if (message === undefined || message.instance === instance) return
    counters.receive(message.instance, message.minute)
    isReceiving = true
    for (const event of message.events) events.add(event)
    isReceiving = false
  }
  let isClosed = false
  let cancel = ignore
  const send = async (): Promise<void> => {
    const message: Message = { instance, minute: counters.share(), events: own }
    own = []
    // If the store is down, kit reports it; the console of this instance shows its own part.
    await app.store.publish(CHANNEL, JSON.stringify(message)).catch(() => {})
    if (!isClosed) cancel = clock.schedule(EVERY_MS, () => void send())
  }

  let unsubscribe: (() => Promise<void>) | undefined
  app.addHook('onReady', async () => {
    const onMessage = { message: receive, interrupted: ignore, restored: ignore }
    unsubscribe = await app.store.subscribe(CHANNEL, onMessage).catch(() => undefined)
    await send()
  })
  app.addHook('onClose', async () => {
    isClosed = true
    cancel()
    stopListening()
    await unsubscribe?.()
  })
}

/** Who can write to the store must not be able to break the process. */
function parseMessage(text: string): Message | undefined {
  try {
    const { instance, minute, events } = JSON.parse(text) as Message
    const isValid =
      typeof instance === 'string' &&
      instance.length <= 64 &&
      isMinute(minute) &&
      Array.isArray(events) &&
      events.length <= MAX_EVENTS &&
      events.every(isEvent)
    return isValid ? { instance, minute, events } : undefined
  } catch {
    return undefined
  }
}

function isMinute({
  time,
  answered,
  refused,
  failed,
  anomalies,
  alarms,
  latency,
}: SharedMinute): boolean {
  const counts = [time, answered, refused, failed, anomalies, alarms]
  return [...counts, ...latency].every((count) => Number.isSafeInteger(count) && count >= 0)
}

function isEvent({ id, time, type, severity, outcome, details }: FeedEvent): boolean {
  return (
    [id, type, outcome].every((text) => typeof text === 'string') &&
    Number.isSafeInteger(time) &&
    Math.abs(time) <= MAX_TIME &&
    SEVERITIES.includes(severity) &&
    typeof details === 'object' &&
    details !== null
  )
}
