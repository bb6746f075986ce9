/** A recurring job: decides which occurrence is stored next, by the clock of the storage. */
import type { Schedule } from './cron.ts'
import { idOf } from './job-rules.ts'
import type { JobLimits, JobQueue, JobStorage, NewJob } from './job-storage.ts'

/** What a recurring job needs. */
export interface RecurrenceContext {
  readonly storage: JobStorage
  readonly limits: JobLimits
  readonly insert: (queue: JobQueue, job: NewJob) => Promise<boolean>
  /** Bounds a call to the storage. */
  readonly bounded: <T>(call: Promise<T>) => Promise<T>
}

/** One name and its schedules. */
export class Recurrence {
  readonly queue: JobQueue
  readonly #context: RecurrenceContext
  readonly #schedules = new Map<number | string, Schedule>()

  constructor(queue: JobQueue, context: RecurrenceContext) {
    this.queue = queue
    this.#context = context
  }

  add(given: number | string, schedule: Schedule): void {
    this.#schedules.set(given, schedule)
  }

  /** Stores the next occurrence before it is due, so that it is not lost if no instance runs then. */
  async storeNext(): Promise<void> {
    const { storage, limits, insert, bounded } = this.#context
    const { now, waiting } = await bounded(storage.upcoming(this.queue))
    const at = Math.min(...[...this.#schedules.values()].map(({ next }) => next(now)))
    // It was stored when the clock was wrong, or by an instance with a longer schedule.
    const tooLate = waiting.filter(({ dueAt }) => dueAt > at)
    for (const { id } of tooLate) await bounded(storage.remove(this.queue, id))
    if (tooLate.length < waiting.length) return
    const key = `every:${new Date(at).toISOString()}`
    await insert(this.queue, { id: idOf(this.queue.name, key), key, data: {}, at, ...limits })
  }
}
