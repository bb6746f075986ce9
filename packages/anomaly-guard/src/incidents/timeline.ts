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
  /** Each has its own share, so that the noise of one does not push out the evidence of another. */
  readonly rules: readonly string[]
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
/** Anomalies of one rule that are kept. */
const MAX_ENTRIES = 1000
const MAX_RECENT = 1000
const RECENT_MS = 1_800_000

/** Creates the timeline of one instance. */
export function createTimeline(settings: TimelineSettings): Timeline {
  return new StoredTimeline(settings)
}

class StoredTimeline implements Timeline {
  readonly #settings: TimelineSettings
  readonly #recent = new Map<string, Anomaly>()
  /** Ids that this instance has recorded, by rule, the oldest first. */
  readonly #own = new Map<string, string[]>()
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
      if (time > oldest) break
      this.#recent.delete(id)
    }
    if (this.#recent.size > MAX_RECENT) dropNoise(this.#recent)
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
        await store.append(timelineOf(anomaly.rule), anomaly.id, bounds)
        await this.#forgetOldest(anomaly)
      }
      await store.publish(CHANNEL, text)
    } catch (error) {
      onError(error, 'keep an anomaly')
    }
  }

  async list(sinceMs: number): Promise<Anomaly[]> {
    const { store, clock, retentionMs } = this.#settings
    const windowMs = Math.min(Math.max(1, clock.now() - sinceMs), retentionMs)
    const timelines = await Promise.all(
      this.#settings.rules.map((rule) => store.timeline(timelineOf(rule), windowMs)),
    )
    const entries = timelines.flat()
    const found: (Anomaly | undefined)[] = []
    // In groups: one call at a time would be slow, thousands at once would crowd out others.
    for (let start = 0; start < entries.length; start += 50) {
      const group = entries.slice(start, start + 50)
      found.push(...(await Promise.all(group.map(({ value }) => this.find(value)))))
    }
    return found
      .filter((anomaly) => anomaly !== undefined)
      .toSorted((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
  }

  /** Deletes what has left its timeline: after so many later ones, an anomaly of this instance has. */
  async #forgetOldest({ rule, id }: Anomaly): Promise<void> {
    const own = this.#own.get(rule) ?? []
    this.#own.set(rule, own)
    own.push(id)
    if (own.length > MAX_ENTRIES) await this.#settings.store.delete(keyOf(own.shift()!))
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

/** Keeps the latest of each rule: those of a rule with many make room. */
function dropNoise(recent: Map<string, Anomaly>): void {
  const counts = new Map<string, number>()
  for (const { rule } of recent.values()) counts.set(rule, (counts.get(rule) ?? 0) + 1)
  const share = Math.floor(MAX_RECENT / 2 / counts.size)
  for (const [id, { rule }] of recent) {
    const left = counts.get(rule)!
    if (left <= share) continue
    counts.set(rule, left - 1)
    recent.delete(id)
  }
}

function timelineOf(rule: string): string {
  return `anomaly-guard:timeline:${rule}`
}

function keyOf(id: string): string {
  return `anomaly-guard:anomaly:${id}`
}
