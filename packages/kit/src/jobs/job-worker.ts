/** Runs the jobs of one queue on this instance: takes what is due, bounds each attempt, records the results. */
import { randomUUID } from 'node:crypto'
import { PARAPET_KIT_JOB_STOPPED } from '../errors.ts'
import type { Clock } from '../time/clock.ts'
import { describeError } from './job-rules.ts'
import { LEASE_GRACE_MS, type JobQueue, type JobStorage, type TakenJob } from './job-storage.ts'
import type { Job, JobHandler, JobOptions } from './jobs.ts'

/** What all workers of an instance share. */
export interface WorkerContext {
  readonly storage: JobStorage
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** Bounds a call to the storage. */
  readonly bounded: <T>(call: Promise<T>) => Promise<T>
}

/** How often a result is recorded if the storage does not answer. */
const RECORD_ATTEMPTS = 5
const RECORD_PAUSE_MS = 1000
/** Jobs of a later answer are returned: their leases may end before their timeouts. */
const LATEST_ANSWER_MS = LEASE_GRACE_MS / 2
/** Handlers that never end keep their places from then on. */
const MAX_HUNG = 100

interface RunningJob {
  readonly job: TakenJob
  readonly controller: AbortController
  readonly ended: Promise<void>
  /** Its lease has ended, and its handler has not. */
  isHung: boolean
}

/** Runs the jobs of one queue. */
export class JobWorker {
  readonly queue: JobQueue
  readonly #context: WorkerContext
  readonly #name: string
  readonly #handler: JobHandler
  readonly #options: Required<JobOptions>
  readonly #running = new Map<string, RunningJob>()
  /** Requests whose answers were lost, which may have taken jobs, and until when they are released. */
  readonly #lost = new Map<string, number>()
  /** Places for which jobs were requested. */
  #requested = 0
  #taking: Promise<void> | undefined
  #again = false
  #closed = false

  constructor(
    context: WorkerContext,
    queue: JobQueue,
    what: { name: string; handler: JobHandler; options: Required<JobOptions> },
  ) {
    this.#context = context
    this.queue = queue
    this.#name = what.name
    this.#handler = what.handler
    this.#options = what.options
  }

  /** Takes jobs until none is due or all places are used. */
  wake(): void {
    if (this.#closed) return
    this.#again = true
    this.#taking ??= this.#takeAll().finally(() => {
      this.#taking = undefined
      // A call may come between the end of the loop and here.
      if (this.#again && this.#free() > 0) this.wake()
    })
  }

  #free(): number {
    const hung = [...this.#running.values()].filter(({ isHung }) => isHung).length
    const running = this.#running.size - Math.min(hung, MAX_HUNG)
    return this.#options.concurrency - running - this.#requested
  }

  async #takeAll(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false
      const free = this.#free()
      if (free <= 0) return
      try {
        if ((await this.#context.bounded(this.#take(free))) === free) this.#again = true
      } catch (error) {
        this.#again = false
        this.#context.onError(error)
        return
      }
    }
  }

  /** An answer may come later than the deadline; until then its places are used. */
  async #take(limit: number): Promise<number> {
    const { storage, clock } = this.#context
    const token = randomUUID()
    let isUsable = true
    this.#requested += limit
    const end = (): void => {
      if (isUsable) this.#requested -= limit
      isUsable = false
    }
    const cancel = clock.schedule(LATEST_ANSWER_MS, end)
    let jobs: TakenJob[] = []
    try {
      jobs = await storage.take(this.queue, { ...this.#options, limit, token })
    } catch (error) {
      this.#lost.set(token, this.#monotonic() + LEASE_GRACE_MS)
      throw error
    } finally {
      cancel()
      if (isUsable && !this.#closed) for (const job of jobs) this.#begin(job)
      else if (jobs.length > 0) await this.#record(() => storage.release(this.queue, token))
      end()
    }
    return jobs.length
  }

  #monotonic(): number {
    const { clock } = this.#context
    return (clock.monotonic ?? clock.now)()
  }

  #begin(job: TakenJob): void {
    const controller = new AbortController()
    const former = this.#running.get(job.id)
    // Its lease ended, but its handler did not stop: both must not run at once.
    const ended =
      former === undefined
        ? this.#attempt(job, controller)
        : this.#record(() =>
            this.#context.storage.fail(this.queue, job, 'the former attempt has not stopped'),
          )
    const running: RunningJob = { job, controller, ended, isHung: false }
    if (former === undefined) this.#running.set(job.id, running)
    const { timeoutMs } = this.#options
    const cancel = this.#context.clock.schedule(timeoutMs + LEASE_GRACE_MS, () => {
      running.isHung = true
      const problem = 'its handler has not ended, and another attempt may begin'
      this.#context.onError(new PARAPET_KIT_JOB_STOPPED(this.#name, problem))
      this.wake()
    })
    void ended.finally(() => {
      cancel()
      if (this.#running.get(job.id) === running) this.#running.delete(job.id)
      this.wake()
    })
  }

  async #attempt(job: TakenJob, controller: AbortController): Promise<void> {
    const { storage, clock, onError } = this.#context
    const { timeoutMs } = this.#options
    const cancel = clock.schedule(timeoutMs, () =>
      controller.abort(new PARAPET_KIT_JOB_STOPPED(this.#name, `${timeoutMs} ms have passed`)),
    )
    const { token: _, ...shown } = job
    const given: Job = Object.freeze({ ...shown, name: this.#name, signal: controller.signal })
    try {
      await this.#handler(given)
    } catch (error) {
      onError(error)
      await this.#record(() => storage.fail(this.queue, job, describeError(error)))
      return
    } finally {
      cancel()
    }
    await this.#record(() => storage.complete(this.queue, job))
  }

  /** If this fails in the end, the job runs again when its lease has ended. */
  async #record(write: () => Promise<void>): Promise<void> {
    const { clock, bounded, onError } = this.#context
    for (let attempt = 1; ; attempt++) {
      try {
        await bounded(write())
        return
      } catch (error) {
        onError(error)
        if (attempt === RECORD_ATTEMPTS) return
        await new Promise<void>((resolve) => clock.schedule(RECORD_PAUSE_MS, resolve))
      }
    }
  }

  /** Stops attempts that no longer belong to this instance, and releases what it took unknowingly. */
  async check(): Promise<void> {
    const { storage, bounded } = this.#context
    // More than once: the database may still be working on a request whose answer is lost.
    for (const [token, until] of this.#lost) {
      await bounded(storage.release(this.queue, token))
      if (this.#monotonic() >= until) this.#lost.delete(token)
    }
    for (const { job, controller } of this.#running.values()) {
      if (controller.signal.aborted || (await bounded(storage.owns(this.queue, job)))) continue
      controller.abort(new PARAPET_KIT_JOB_STOPPED(this.#name, 'it was cancelled or taken over'))
    }
  }

  /** Stops a job on this instance. */
  cancel(id: string): void {
    const reason = new PARAPET_KIT_JOB_STOPPED(this.#name, 'it was cancelled')
    this.#running.get(id)?.controller.abort(reason)
  }

  /** Takes no more jobs. @returns when those that run have ended. */
  async drain(): Promise<void> {
    const { storage, bounded, onError } = this.#context
    this.#closed = true
    await this.#taking
    for (const token of this.#lost.keys()) {
      await bounded(storage.release(this.queue, token)).catch(onError)
    }
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  /** Stops all attempts. */
  abort(): void {
    const reason = new PARAPET_KIT_JOB_STOPPED(this.#name, 'it closes')
    for (const { controller } of this.#running.values()) controller.abort(reason)
  }
}
