/** Jobs in the memory of this process: bounded, for one instance, and gone when the process ends. */
import { PARAPET_KIT_JOBS_FULL } from '../errors.ts'
import { option } from '../options/option-readers.ts'
import { readOptions } from '../options/options.ts'
import { systemClock, type Clock } from '../time/clock.ts'
import { warn } from '../warn.ts'
import { createJobs } from './job-runner.ts'
import {
  LEASE_GRACE_MS,
  type JobLimits,
  type JobQueue,
  type JobStorage,
  type NewJob,
  type StoredJob,
  type TakenJob,
  type TakeRequest,
  type Upcoming,
} from './job-storage.ts'
import type { Jobs } from './jobs.ts'

/** What {@link createMemoryJobs} takes. */
export interface MemoryJobsOptions {
  /**
   * The most jobs that are kept. When it is reached, ended jobs without a key of their own are dropped, the
   * oldest first; if there are none, more jobs are refused. @default 10_000
   */
  readonly maxJobs?: number
  /** How long an ended job and its key are kept. @default 86_400_000 */
  readonly keepMs?: number
  /** How often due jobs are looked for; one that is due at once runs at once. @default 1000 */
  readonly pollMs?: number
  /** @default the machine's clock */
  readonly clock?: Clock
  /** Gets what handlers throw. @default a process warning */
  readonly onError?: (error: unknown) => void
  /** Gets the sentence that jobs end with the process, when they start. @default a process warning */
  readonly onNotice?: (message: string) => void
}

const NOTICE =
  'Jobs are stored in memory; they are lost when the process ends. Use createPgBossJobs.'

/**
 * Makes jobs in this process's memory.
 *
 * @throws PARAPET_KIT_INVALID_OPTION
 */
export function createMemoryJobs(options: MemoryJobsOptions = {}): Jobs {
  const settings = readOptions('createMemoryJobs', options, {
    maxJobs: option.integer({ min: 1, max: 1_000_000, default: 10_000 }),
    keepMs: option.milliseconds({ default: 86_400_000 }),
    pollMs: option.milliseconds({ min: 10, max: 60_000, default: 1000 }),
    clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
    onError: option.callback<(error: unknown) => void>({ default: warn }),
    onNotice: option.callback<(message: string) => void>({ default: warn }),
  })
  return createJobs({
    ...settings,
    storage: new MemoryJobs(settings),
    isDurable: false,
    deadlineMs: 5000,
    onStart: () => settings.onNotice(NOTICE),
  })
}

const ENDED: ReadonlySet<string> = new Set<StoredJob['state']>(['done', 'cancelled', 'dead'])

interface Entry extends StoredJob {
  readonly queue: string
  readonly isSerial: boolean
  /** When it was accepted; older jobs come first. */
  readonly order: number
  /** By the wall clock: not before. */
  readonly startAt: number
  limits: JobLimits
  /** By the monotonic clock: the next attempt, the end of the lease, and how long the ended job is kept. */
  retryAt: number
  until: number
  state: StoredJob['state']
  attempts: number
  maxAttempts: number
  token?: string
  error?: string
}

class MemoryJobs implements JobStorage {
  readonly #maxJobs: number
  readonly #keepMs: number
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()
  #order = 0

  constructor({ maxJobs, keepMs, clock }: { maxJobs: number; keepMs: number; clock: Clock }) {
    this.#maxJobs = maxJobs
    this.#keepMs = keepMs
    this.#clock = clock
  }

  async prepare(): Promise<void> {}

  async insert(queue: JobQueue, job: NewJob): Promise<boolean> {
    if (this.#entries.has(job.id)) return false
    if (this.#entries.size >= this.#maxJobs) this.#purge()
    if (this.#entries.size >= this.#maxJobs) this.#dropEnded()
    if (this.#entries.size >= this.#maxJobs) throw new PARAPET_KIT_JOBS_FULL(this.#maxJobs)
    const { id, key, data, retries, backoffMs, timeoutMs } = job
    this.#entries.set(id, {
      id,
      key,
      data,
      dueAt: job.at ?? this.#clock.now(),
      startAt: job.at ?? -Infinity,
      queue: queue.name,
      isSerial: queue.isSerial,
      limits: { retries, backoffMs, timeoutMs },
      order: this.#order++,
      retryAt: -Infinity,
      until: Infinity,
      state: 'waiting',
      attempts: 0,
      maxAttempts: retries + 1,
    })
    return true
  }

  async take(queue: JobQueue, request: TakeRequest): Promise<TakenJob[]> {
    if (queue.isSerial && this.#in(queue, 'running').length > 0) return []
    const [now, monotonic] = [this.#clock.now(), this.#monotonic()]
    const due = this.#in(queue, 'waiting')
      .filter(({ startAt, retryAt }) => startAt <= now && retryAt <= monotonic)
      .toSorted((a, b) => a.order - b.order)
    const { limit, token, retries, backoffMs, timeoutMs } = request
    return due.slice(0, limit).map((entry) => {
      entry.state = 'running'
      entry.attempts += 1
      entry.token = token
      entry.limits = { retries, backoffMs, timeoutMs }
      entry.maxAttempts = retries + 1
      entry.until = monotonic + timeoutMs + LEASE_GRACE_MS
      const { id, key, data, dueAt, attempts: attempt } = entry
      return { id, key, data, dueAt, attempt, token }
    })
  }

  async release(queue: JobQueue, token: string): Promise<void> {
    for (const entry of this.#in(queue, 'running')) {
      if (entry.token !== token) continue
      entry.state = 'waiting'
      entry.attempts -= 1
    }
  }

  async upcoming(queue: JobQueue): Promise<Upcoming> {
    const waiting = this.#in(queue, 'waiting').filter(({ attempts }) => attempts === 0)
    return { now: this.#clock.now(), waiting }
  }

  async remove(_queue: JobQueue, id: string): Promise<void> {
    this.#entries.delete(id)
  }

  async complete(_queue: JobQueue, job: TakenJob): Promise<void> {
    const entry = this.#ownedBy(job)
    if (entry !== undefined) this.#end(entry, 'done')
  }

  async fail(_queue: JobQueue, job: TakenJob, error: string): Promise<void> {
    const entry = this.#ownedBy(job)
    if (entry !== undefined) this.#failEntry(entry, error)
  }

  async owns(_queue: JobQueue, job: TakenJob): Promise<boolean> {
    return this.#ownedBy(job) !== undefined
  }

  async cancel(_queue: JobQueue, id: string): Promise<boolean> {
    const entry = this.#entries.get(id)
    if (entry?.state !== 'waiting' && entry?.state !== 'running') return false
    this.#end(entry, 'cancelled')
    return true
  }

  async find(_queue: JobQueue, id: string): Promise<StoredJob | null> {
    this.#purge()
    const entry = this.#entries.get(id)
    return entry === undefined ? null : recordOf(entry)
  }

  async dead(queues: readonly string[], limit: number): Promise<StoredJob[]> {
    this.#purge()
    const found = [...this.#entries.values()].filter(
      ({ queue, state }) => state === 'dead' && queues.includes(queue),
    )
    return found
      .toSorted((a, b) => b.until - a.until || b.order - a.order)
      .slice(0, limit)
      .map(recordOf)
  }

  async revive(queue: JobQueue, id: string): Promise<boolean> {
    const entry = this.#entries.get(id)
    if (entry?.state !== 'dead' || entry.queue !== queue.name) return false
    Object.assign(entry, { state: 'waiting', retryAt: -Infinity, until: Infinity })
    return true
  }

  async recover(): Promise<void> {
    const now = this.#monotonic()
    this.#purge()
    for (const entry of this.#entries.values()) {
      if (entry.state === 'running' && entry.until < now) {
        this.#failEntry(entry, 'the attempt did not end in time')
      }
    }
  }

  close(): void {
    this.#entries.clear()
  }

  #monotonic(): number {
    return (this.#clock.monotonic ?? this.#clock.now)()
  }

  #in(queue: JobQueue, state: Entry['state']): Entry[] {
    return [...this.#entries.values()].filter(
      (each) => each.queue === queue.name && each.state === state,
    )
  }

  #ownedBy({ id, token }: TakenJob): Entry | undefined {
    const entry = this.#entries.get(id)
    return entry?.state === 'running' && entry.token === token ? entry : undefined
  }

  #failEntry(entry: Entry, error: string): void {
    entry.error = error
    if (entry.attempts >= entry.maxAttempts) {
      this.#end(entry, 'dead')
      return
    }
    const base = entry.limits.backoffMs * 2 ** Math.min(15, entry.attempts - 1)
    entry.state = 'waiting'
    entry.retryAt = this.#monotonic() + base * (1 + Math.random())
  }

  #end(entry: Entry, state: 'done' | 'cancelled' | 'dead'): void {
    entry.state = state
    entry.until = this.#monotonic() + this.#keepMs
    // Its time never comes again, so its key need not be kept.
    if (entry.isSerial && state === 'done') this.#entries.delete(entry.id)
  }

  /** Makes room: a tenth at a time, dead jobs last. */
  #dropEnded(): void {
    let wanted = Math.ceil(this.#maxJobs / 10)
    for (const isDead of [false, true]) {
      for (const { id, key, state } of this.#entries.values()) {
        if (wanted === 0) return
        if (id !== key || !ENDED.has(state) || isDead !== (state === 'dead')) continue
        this.#entries.delete(id)
        wanted--
      }
    }
  }

  #purge(): void {
    const now = this.#monotonic()
    for (const [id, { state, until }] of this.#entries) {
      if (ENDED.has(state) && until <= now) this.#entries.delete(id)
    }
  }
}

function recordOf(entry: Entry): StoredJob {
  const { id, key, data, state, attempts, dueAt, error } = entry
  return { id, key, data, state, attempts, dueAt, ...(error !== undefined && { error }) }
}
