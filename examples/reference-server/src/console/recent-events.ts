/** The latest security events of the fleet, for the feed of the console. Bounded, in memory. */
import type { Severity } from '@parapet/kit'

/** A security event, as the feed shows it. */
export interface FeedEvent {
  /** UUIDv7. */
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly type: string
  readonly severity: Severity
  readonly outcome: string
  readonly principalId?: string
  readonly sessionId?: string
  readonly ip?: string
  readonly userAgent?: string
  readonly requestId?: string
  readonly route?: string
  readonly action?: string
  readonly resourceType?: string
  readonly resourceId?: string
  readonly details: Readonly<Record<string, unknown>>
}

/** Which events a reader wants; an absent member accepts all. */
export interface FeedFilter {
  /** The least severity. */
  readonly severity?: Severity
  /** The plugin that emits the event: the text before the first dot of its type. */
  readonly source?: string
  readonly outcome?: string
}

/** The severities, the least first. */
export const SEVERITIES: readonly Severity[] = ['info', 'low', 'medium', 'high', 'critical']

/** The latest events, and who is notified of new ones. */
export interface RecentEvents {
  /** Keeps an event once, however often it arrives. */
  add(event: FeedEvent): void
  /** The latest events, the newest first. */
  list(filter: FeedFilter, limit: number): FeedEvent[]
  /** @returns a function that stops listening. */
  listen(listener: (event: FeedEvent) => void): () => void
}

/** Whether an event passes a filter. */
export function passes(event: FeedEvent, { severity, source, outcome }: FeedFilter): boolean {
  if (severity !== undefined && rankOf(event.severity) < rankOf(severity)) return false
  if (source !== undefined && !event.type.startsWith(`${source}.`)) return false
  return outcome === undefined || event.outcome === outcome
}

/** Creates the list. @param capacity how many events are kept; the oldest are dropped */
export function createRecentEvents(capacity: number): RecentEvents {
  // A map keeps the order of insertion, and finds an event that another instance has sent again.
  const events = new Map<string, FeedEvent>()
  const listeners = new Set<(event: FeedEvent) => void>()
  return {
    add(event) {
      if (events.has(event.id)) return
      events.set(event.id, event)
      if (events.size > capacity) events.delete(events.keys().next().value!)
      for (const listener of listeners) listener(event)
    },
    list(filter, limit) {
      const found = [...events.values()].filter((event) => passes(event, filter))
      return found.slice(-limit).toReversed()
    },
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

function rankOf(severity: Severity): number {
  return SEVERITIES.indexOf(severity)
}
