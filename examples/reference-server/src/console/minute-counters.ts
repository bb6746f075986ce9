/** Counts requests, refusals, failures, anomalies and latencies by minute, for the charts of the console. */
import { addAll, createHistogram, observe, quantile, type Histogram } from './latency.ts'

/** One minute of one instance, or the sum of several. */
interface Minute {
  /** The start of the minute, in milliseconds since the Unix epoch. */
  readonly time: number
  /** Responses below 400. */
  readonly answered: number
  /** Responses from 400 to 499. */
  readonly refused: number
  /** Responses from 500 on. */
  readonly failed: number
  readonly anomalies: number
  /** Security events of severity `high` and `critical`. */
  readonly alarms: number
  /** Milliseconds; `null` without requests. */
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

/** The minutes of the last hours. */
export interface MinuteCounters {
  request(status: number, latencyMs: number): void
  anomaly(): void
  alarm(): void
  /** Every minute of the period, the oldest first; those without requests are zero. */
  list(): Minute[]
  /** The minute that runs. */
  current(): Minute
  /** The minute that runs, of this instance alone, for the others. */
  share(): SharedMinute
  /** Takes what another instance shares, in place of what it has shared of that minute before. */
  receive(instance: string, minute: SharedMinute): void
}

/** Counts of one minute. */
interface Counts {
  answered: number
  refused: number
  failed: number
  anomalies: number
  alarms: number
}

/** What instances send each other. */
export interface SharedMinute extends Readonly<Counts> {
  readonly time: number
  readonly latency: readonly number[]
}

interface Bucket extends Counts {
  readonly time: number
  readonly latency: Histogram
  /** Of other instances, by their name. */
  readonly others: Map<string, SharedMinute>
}

const MINUTE_MS = 60_000
/** Bounds the memory, whatever is written into the store. */
const MAX_INSTANCES = 64
const COUNTS = ['answered', 'refused', 'failed', 'anomalies', 'alarms'] as const

/** Creates the counters. @param minutes how many are kept */
export function createMinuteCounters(now: () => number, minutes: number): MinuteCounters {
  const buckets: (Bucket | undefined)[] = Array.from({ length: minutes })
  const bucketAt = (time: number): Bucket => {
    const index = (time / MINUTE_MS) % minutes
    const bucket = buckets[index]
    // The place of a minute that is no longer kept is used again.
    if (bucket?.time === time) return bucket
    return (buckets[index] = createBucket(time))
  }
  const current = (): Bucket => bucketAt(startOf(now()))
  return {
    request(status, latencyMs) {
      const bucket = current()
      if (status >= 500) bucket.failed++
      else if (status >= 400) bucket.refused++
      else bucket.answered++
      observe(bucket.latency, latencyMs)
    },
    anomaly: () => void current().anomalies++,
    alarm: () => void current().alarms++,
    list() {
      const last = startOf(now())
      const times = Array.from({ length: minutes }, (_, index) => last - index * MINUTE_MS)
      return times.toReversed().map((time) => show(bucketAt(time)))
    },
    current: () => show(current()),
    share() {
      const { others: _, latency, ...counts } = current()
      return { ...counts, latency: [...latency] }
    },
    receive(instance, minute) {
      const time = startOf(minute.time)
      const last = startOf(now())
      if (time > last + MINUTE_MS || time <= last - minutes * MINUTE_MS) return
      const { others } = bucketAt(time)
      if (others.size < MAX_INSTANCES || others.has(instance)) others.set(instance, minute)
    },
  }
}

function startOf(time: number): number {
  return time - (time % MINUTE_MS)
}

function createBucket(time: number): Bucket {
  const counts = { answered: 0, refused: 0, failed: 0, anomalies: 0, alarms: 0 }
  return { time, ...counts, latency: createHistogram(), others: new Map() }
}

/** The sum of all instances. */
function show({ time, latency, others, ...own }: Bucket): Minute {
  const counts = { ...own }
  const all = createHistogram()
  addAll(all, latency)
  for (const other of others.values()) {
    for (const name of COUNTS) counts[name] += other[name]
    addAll(all, other.latency)
  }
  const [p50, p95, p99] = [quantile(all, 0.5), quantile(all, 0.95), quantile(all, 0.99)]
  return { time, ...counts, p50, p95, p99 }
}
