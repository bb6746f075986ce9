/** Runs the jobs of one queue on this instance: takes what is due, bounds each attempt, records the results. */
import { PARAPET_KIT_JOB_STOPPED } from '../errors.ts'
import type { Clock } from '../time/clock.ts'
import { describeError } from './job-rules.ts'
import type { JobQueue, JobStorage, TakenJob } from './job-storage.ts'
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

interface RunningJob {
  readonly job: TakenJob
  readonly controller: AbortController
  readonly ended: Promise<void>
}

/** Runs the jobs of one queue. */
export class JobWorker {
  readonly queue: JobQueue
  readonly #context: WorkerContext
  readonly #name: string
  readonly #handler: JobHandler
  readonly #options: Required<JobOptions>
  readonly #running = new Map<string, RunningJob>()
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
      if (this.#again && this.#running.size < this.#options.concurrency) this.wake()
    })
  }

  async #takeAll(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false
      const free = this.#options.concurrency - this.#running.size
      if (free <= 0) return
      const taking = this.#context.storage.take(this.queue, free)
      try {
        // A job that comes late was taken nevertheless, and is run.
        const taken = taking.then((jobs) => jobs.map((job) => this.#begin(job)).length)
        if ((await this.#context.bounded(taken)) === free) this.#again = true
      } catch (error) {
        this.#again = false
        this.#context.onError(error)
        return
      }
    }
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
    const running = { job, controller, ended }
    if (former === undefined) this.#running.set(job.id, running)
    void ended.finally(() => {
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
    if (this.#closed) controller.abort(new PARAPET_KIT_JOB_STOPPED(this.#name, 'it closes'))
    const given: Job = Object.freeze({ ...job, name: this.#name, signal: controller.signal })
    try {
      controller.signal.throwIfAborted()
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

  /** Stops attempts that no longer belong to this instance. */
  async check(): Promise<void> {
    const { storage, bounded } = this.#context
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
    this.#closed = true
    await this.#taking
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  /** Stops all attempts. */
  abort(): void {
    const reason = new PARAPET_KIT_JOB_STOPPED(this.#name, 'it closes')
    for (const { controller } of this.#running.values()) controller.abort(reason)
  }
}
