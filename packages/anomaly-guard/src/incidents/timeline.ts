/**
 * The timeline of anomalies: in the store for the fleet, and the latest in the memory of each instance, so that
 * correlation asks nobody and goes on while the store is down.
 */
import { followSharedState, type Clock, type SharedState, type Store } from '@parapet/kit'
import { parseAnomaly, type Anomaly } from './anomaly.ts'

/** See {@link createTimeline}. */
export interface TimelineSettings {
  readonly store: Store
  readonly clock: Clock
  /** How long anomalies are kept. */
  readonly retentionMs: number
  readonly onError: (error: unknown, what: string) => void
}

/** The timeline. */
export interface Timeline {
  start(): Promise<void>
  stop(): Promise<void>
  /** Keeps an anomaly, or its new version. Never rejects. */
  record(anomaly: Anomaly, isNew: boolean): Promise<void>
  /** The anomalies of the last minutes, by id, from memory. */
  readonly recent: ReadonlyMap<string, Anomaly>
  /** Anomalies since a time, the oldest first. @throws the store's error */
  list(sinceMs: number): Promise<Anomaly[]>
  /** One anomaly, from memory or the store. @throws the store's error */
  find(id: string): Promise<Anomaly | undefined>
}

const CHANNEL = 'anomaly-guard:anomalies'
const MAX_ENTRIES = 5000
const MAX_RECENT = 1000
const RECENT_MS = 1_800_000

/** Creates the timeline of one instance. */
export function createTimeline(settings: TimelineSettings): Timeline {
  return new StoredTimeline(settings)
}

class StoredTimeline implements Timeline {
  readonly #settings: TimelineSettings
  readonly #recent = new Map<string, Anomaly>()
  readonly #shared: SharedState

  constructor(settings: TimelineSettings) {
    this.#settings = settings
    const { store, clock, onError } = settings
    this.#shared = followSharedState({
      store,
      clock,
      channel: CHANNEL,
      load: async () => {
        for (const anomaly of await this.list(clock.now() - RECENT_MS)) this.#learn(anomaly)
      },
      receive: (message) => {
        const anomaly = parseAnomaly(message)
        if (anomaly !== undefined) this.#learn(anomaly)
      },
      onError: (error) => onError(error, 'read the timeline'),
    })
  }

  get recent(): ReadonlyMap<string, Anomaly> {
    const oldest = this.#settings.clock.now() - RECENT_MS
    for (const [id, { time }] of this.#recent) {
      if (time > oldest && this.#recent.size <= MAX_RECENT) break
      this.#recent.delete(id)
    }
    return this.#recent
  }

  start(): Promise<void> {
    return this.#shared.start()
  }

  stop(): Promise<void> {
    return this.#shared.stop()
  }

  async record(anomaly: Anomaly, isNew: boolean): Promise<void> {
    const { store, retentionMs, onError } = this.#settings
    this.#recent.set(anomaly.id, anomaly)
    const text = JSON.stringify(anomaly)
    try {
      await store.set(keyOf(anomaly.id), text, retentionMs)
      if (isNew) {
        const bounds = { windowMs: retentionMs, maxEntries: MAX_ENTRIES }
        await store.append('anomaly-guard:timeline', anomaly.id, bounds)
      }
      await store.publish(CHANNEL, text)
    } catch (error) {
      onError(error, 'keep an anomaly')
    }
  }

  async list(sinceMs: number): Promise<Anomaly[]> {
    const { store, clock, retentionMs } = this.#settings
    const windowMs = Math.min(Math.max(1, clock.now() - sinceMs), retentionMs)
    const entries = await store.timeline('anomaly-guard:timeline', windowMs)
    const found: (Anomaly | undefined)[] = []
    // In groups: one call at a time would be slow, thousands at once would crowd out others.
    for (let start = 0; start < entries.length; start += 50) {
      const group = entries.slice(start, start + 50)
      found.push(...(await Promise.all(group.map(({ value }) => this.find(value)))))
    }
    return found.filter((anomaly) => anomaly !== undefined)
  }

  #learn(anomaly: Anomaly): void {
    this.#recent.set(anomaly.id, anomaly)
  }

  async find(id: string): Promise<Anomaly | undefined> {
    const known = this.#recent.get(id)
    if (known !== undefined) return known
    const text = await this.#settings.store.get(keyOf(id))
    return text === null ? undefined : parseAnomaly(text)
  }
}

function keyOf(id: string): string {
  return `anomaly-guard:anomaly:${id}`
}
