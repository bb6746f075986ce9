/** Jobs in the memory of this process: bounded, for one instance, and gone when the process ends. */
import { PARAPET_KIT_JOBS_FULL } from '../errors.ts'
import { option } from '../options/option-readers.ts'
import { readOptions } from '../options/options.ts'
import { systemClock, type Clock } from '../time/clock.ts'
import { warn } from '../warn.ts'
import { createJobs } from './job-runner.ts'
import {
  LEASE_GRACE_MS,
  type JobQueue,
  type JobStorage,
  type NewJob,
  type StoredJob,
  type TakenJob,
} from './job-storage.ts'
import type { Jobs } from './jobs.ts'

/** What {@link createMemoryJobs} takes. */
export interface MemoryJobsOptions {
  /** The most jobs that are kept, ended ones included; more are refused. @default 10_000 */
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

interface Entry extends StoredJob {
  readonly queue: string
  readonly isSerial: boolean
  readonly limits: Pick<NewJob, 'retries' | 'backoffMs' | 'timeoutMs'>
  /** When it was accepted; older jobs come first. */
  readonly order: number
  /** When the lease ends, or how long the ended job is kept. */
  until: number
  state: StoredJob['state']
  attempts: number
  maxAttempts: number
  nextAt: number
  error?: string
}

class MemoryJobs implements JobStorage {
  readonly #entries = new Map<string, Entry>()
  readonly #maxJobs: number
  readonly #keepMs: number
  readonly #clock: Clock
  #order = 0

  constructor({ maxJobs, keepMs, clock }: { maxJobs: number; keepMs: number; clock: Clock }) {
    this.#maxJobs = maxJobs
    this.#keepMs = keepMs
    this.#clock = clock
  }

  async prepare(): Promise<void> {}

  async insert(queue: JobQueue, job: NewJob): Promise<boolean> {
    if (this.#entries.has(job.id)) return false
    if (queue.isSerial && this.#has(queue, 'waiting')) return false
    if (this.#entries.size >= this.#maxJobs) this.#purge()
    if (this.#entries.size >= this.#maxJobs) throw new PARAPET_KIT_JOBS_FULL(this.#maxJobs)
    const { id, key, data, retries, backoffMs, timeoutMs } = job
    const dueAt = job.at ?? this.#clock.now()
    this.#entries.set(id, {
      id,
      key,
      data,
      dueAt,
      nextAt: dueAt,
      queue: queue.name,
      isSerial: queue.isSerial,
      limits: { retries, backoffMs, timeoutMs },
      order: this.#order++,
      until: Infinity,
      state: 'waiting',
      attempts: 0,
      maxAttempts: retries + 1,
    })
    return true
  }

  async take(queue: JobQueue, limit: number): Promise<TakenJob[]> {
    if (queue.isSerial && this.#has(queue, 'running')) return []
    const now = this.#clock.now()
    const due = [...this.#entries.values()]
      .filter((each) => each.queue === queue.name && each.state === 'waiting' && each.nextAt <= now)
      .toSorted((a, b) => a.order - b.order)
    return due.slice(0, limit).map((entry) => {
      entry.state = 'running'
      entry.attempts += 1
      entry.until = now + entry.limits.timeoutMs + LEASE_GRACE_MS
      const { id, key, data, dueAt, attempts: attempt } = entry
      return { id, key, data, dueAt, attempt }
    })
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
    Object.assign(entry, { state: 'waiting', nextAt: this.#clock.now(), until: Infinity })
    entry.maxAttempts = entry.attempts + 1
    return true
  }

  async recover(): Promise<void> {
    const now = this.#clock.now()
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

  #has(queue: JobQueue, state: Entry['state']): boolean {
    return [...this.#entries.values()].some(
      (each) => each.queue === queue.name && each.state === state,
    )
  }

  #ownedBy({ id, attempt }: TakenJob): Entry | undefined {
    const entry = this.#entries.get(id)
    return entry?.state === 'running' && entry.attempts === attempt ? entry : undefined
  }

  #failEntry(entry: Entry, error: string): void {
    entry.error = error
    if (entry.attempts >= entry.maxAttempts) {
      this.#end(entry, 'dead')
      return
    }
    const base = entry.limits.backoffMs * 2 ** Math.min(15, entry.attempts - 1)
    entry.state = 'waiting'
    entry.nextAt = this.#clock.now() + base * (1 + Math.random())
  }

  #end(entry: Entry, state: 'done' | 'cancelled' | 'dead'): void {
    entry.state = state
    entry.until = this.#clock.now() + this.#keepMs
    // Its time never comes again, so its key need not be kept.
    if (entry.isSerial && state === 'done') this.#entries.delete(entry.id)
  }

  #purge(): void {
    const now = this.#clock.now()
    for (const [id, { state, until }] of this.#entries) {
      if (state !== 'waiting' && state !== 'running' && until <= now) this.#entries.delete(id)
    }
  }
}

function recordOf(entry: Entry): StoredJob {
  const { id, key, data, state, attempts, dueAt, error } = entry
  return { id, key, data, state, attempts, dueAt, ...(error !== undefined && { error }) }
}
