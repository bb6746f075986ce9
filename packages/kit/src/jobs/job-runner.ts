/**
 * The part of {@link Jobs} that does not depend on the storage: workers, recurring jobs, polling, closing. The file
 * is long because these share the state of one runner; occurrences and workers are in files of their own.
 */
import {
  PARAPET_KIT_INVALID_ARGUMENT,
  PARAPET_KIT_JOBS_CLOSED,
  PARAPET_KIT_JOBS_FAILED,
  PARAPET_KIT_JOBS_TIMEOUT,
} from '../errors.ts'
import type { Clock } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import { warn } from '../warn.ts'
import { parseSchedule } from './cron.ts'
import { copyData, identify, idOf, readJobOptions, requireName } from './job-rules.ts'
import type { JobLimits, JobQueue, JobStorage, NewJob } from './job-storage.ts'
import { JobWorker, type WorkerContext } from './job-worker.ts'
import type {
  Enqueued,
  EnqueueOptions,
  JobData,
  JobHandler,
  JobOptions,
  JobRecord,
  Jobs,
} from './jobs.ts'
import { Recurrence } from './recurrence.ts'

/** What the runner needs. */
export interface JobRunnerSettings {
  readonly storage: JobStorage
  readonly isDurable: boolean
  readonly pollMs: number
  readonly deadlineMs: number
  readonly clock: Clock
  readonly onError: (error: unknown) => void
  /** Runs once, when the jobs start. */
  readonly onStart?: () => void
}

interface Definition {
  readonly handler: JobHandler
  readonly options: Required<JobOptions>
}

/** How often attempts whose lease has ended are looked for. */
const RECOVER_MS = 15_000
const MAX_DEAD = 100
const DEFAULT_DRAIN_MS = 10_000
/** At the start, storages create tables, and wait for other instances that do. */
const START_MS = 40_000

/** Makes the port on a storage. */
export function createJobs(settings: JobRunnerSettings): Jobs {
  return new JobRunner({ ...settings, onError: safely(settings.onError) })
}

/** A callback that throws or rejects must not end the process. */
function safely(onError: (error: unknown) => unknown): (error: unknown) => void {
  const report = async (error: unknown): Promise<void> => {
    try {
      await onError(error)
    } catch (failure) {
      warn(error)
      warn(failure)
    }
  }
  return (error) => void report(error)
}

/** The methods of the port; the file is long because the port is wide. */
class JobRunner implements Jobs {
  readonly isDurable: boolean
  readonly #settings: JobRunnerSettings
  readonly #context: WorkerContext
  readonly #definitions = new Map<string, Definition>()
  readonly #workers = new Map<string, JobWorker>()
  readonly #recurrences = new Map<string, Recurrence>()
  readonly #prepared = new Map<string, Promise<void>>()
  #starting: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #isStarted = false
  #isClosed = false
  #recoveredAt = -Infinity
  #polling: Promise<void> | undefined
  #cancelPoll = (): void => {}

  constructor(settings: JobRunnerSettings) {
    const { storage, clock, onError, isDurable } = settings
    this.isDurable = isDurable
    this.#settings = settings
    this.#context = { storage, clock, onError, bounded: (call) => this.#bounded(call) }
  }

  define<Data extends JobData>(
    name: string,
    handler: JobHandler<Data>,
    options: JobOptions = {},
  ): void {
    requireName(name)
    if (this.#definitions.has(name)) {
      throw new PARAPET_KIT_INVALID_ARGUMENT(`the job "${name}"`, 'is defined already')
    }
    if (typeof handler !== 'function') {
      throw new PARAPET_KIT_INVALID_ARGUMENT(`the handler of "${name}"`, 'must be a function')
    }
    const definition = {
      handler: handler as unknown as JobHandler,
      options: readJobOptions(name, options),
    }
    this.#definitions.set(name, definition)
    this.#addWorker(name, queueOf(name), definition)
  }

  #addWorker(name: string, queue: JobQueue, { handler, options }: Definition): void {
    this.#workers.set(queue.name, new JobWorker(this.#context, queue, { name, handler, options }))
  }

  async enqueue(name: string, data: JobData, options: EnqueueOptions = {}): Promise<Enqueued> {
    requireName(name)
    const { id, key } = identify(name, options)
    const queue = queueOf(name)
    const job = { id, key, data: copyData(data), ...this.#limitsOf(name) }
    const { at } = options
    const isNew = await this.#insert(queue, at === undefined ? job : { ...job, at })
    if (isNew && this.#isStarted && (at ?? 0) <= this.#settings.clock.now()) {
      this.#workers.get(name)?.wake()
    }
    return { id, key, isNew }
  }

  async #insert(queue: JobQueue, job: NewJob): Promise<boolean> {
    const { storage } = this.#settings
    const isKnown = async (): Promise<boolean> =>
      (await this.#bounded(storage.find(queue, job.id))) !== null
    for (const isPrepared of [true, false]) {
      // The queue may be gone, for example after a backup was restored.
      if (!isPrepared) this.#prepared.delete(queue.name)
      await this.#prepare(queue)
      // An ended job may have been moved to where the storage does not look for the same id.
      if (job.key !== job.id && (await isKnown())) return false
      if (await this.#bounded(storage.insert(queue, job))) return true
      if (await isKnown()) return false
    }
    throw new PARAPET_KIT_JOBS_FAILED(`it did not accept a job of "${queue.name}"`)
  }

  #limitsOf(name: string): JobLimits {
    return this.#definitions.get(name)?.options ?? readJobOptions(name, {})
  }

  async every(name: string, given: number | string): Promise<void> {
    const definition = this.#definitions.get(name)
    const schedule = parseSchedule(given)
    if (definition === undefined) {
      throw new PARAPET_KIT_INVALID_ARGUMENT(`the job "${name}"`, 'must be defined before "every"')
    }
    const recurrence = this.#recurrences.get(name) ?? this.#addRecurrence(name, definition)
    recurrence.add(given, schedule)
    await recurrence.storeNext()
  }

  #addRecurrence(name: string, definition: Definition): Recurrence {
    const queue = recurringQueueOf(name)
    const recurrence = new Recurrence(queue, {
      storage: this.#settings.storage,
      limits: definition.options,
      insert: (...job) => this.#insert(...job),
      bounded: (call) => this.#bounded(call),
    })
    this.#recurrences.set(name, recurrence)
    this.#addWorker(name, queue, {
      options: { ...definition.options, concurrency: 1 },
      handler: async (job) => {
        // Before the work, so that the chain goes on whenever this process ends.
        await this.#reported(recurrence.storeNext())
        await definition.handler(job)
      },
    })
    return recurrence
  }

  async cancel(name: string, key: string): Promise<boolean> {
    let found = false
    for (const [queue, id] of this.#placesOf(name, key)) {
      found = (await this.#bounded(this.#settings.storage.cancel(queue, id))) || found
      this.#workers.get(queue.name)?.cancel(id)
    }
    return found
  }

  async find(name: string, key: string): Promise<JobRecord | null> {
    for (const [queue, id] of this.#placesOf(name, key)) {
      const found = await this.#bounded(this.#settings.storage.find(queue, id))
      if (found !== null) return { ...found, name }
    }
    return null
  }

  /** Where a job with a key may be: also an occurrence; without a key of its own it has its id. */
  #placesOf(name: string, key: string): [JobQueue, string][] {
    return this.#queuesOf(name).flatMap((queue) => {
      const places: [JobQueue, string][] = [[queue, idOf(queue.name, key)]]
      return UUID.test(key) ? [...places, [queue, key]] : places
    })
  }

  async dead(name: string): Promise<readonly JobRecord[]> {
    const names = this.#queuesOf(name).map((queue) => queue.name)
    const found = await this.#bounded(this.#settings.storage.dead(names, MAX_DEAD))
    return found.map((job) => ({ ...job, name }))
  }

  async revive(name: string, id: string): Promise<boolean> {
    const queues = this.#queuesOf(name)
    if (!UUID.test(id)) return false
    for (const queue of queues) {
      if (!(await this.#bounded(this.#settings.storage.revive(queue, id)))) continue
      if (this.#isStarted) this.#workers.get(queue.name)?.wake()
      return true
    }
    return false
  }

  #queuesOf(name: string): JobQueue[] {
    requireName(name)
    if (this.#isClosed) throw new PARAPET_KIT_JOBS_CLOSED()
    return [queueOf(name), recurringQueueOf(name)]
  }

  async start(): Promise<void> {
    if (this.#closing !== undefined) throw new PARAPET_KIT_JOBS_CLOSED()
    this.#starting ??= this.#startOnce().catch((error) => {
      this.#starting = undefined
      throw error
    })
    await this.#starting
  }

  async #startOnce(): Promise<void> {
    for (const { queue } of this.#workers.values()) await this.#prepare(queue, START_MS)
    if (this.#closing !== undefined) throw new PARAPET_KIT_JOBS_CLOSED()
    this.#isStarted = true
    this.#settings.onStart?.()
    this.#poll()
  }

  #poll(): void {
    if (this.#closing !== undefined) return
    this.#polling ??= this.#pollOnce().finally(() => {
      this.#polling = undefined
    })
    this.#cancelPoll = this.#settings.clock.schedule(this.#settings.pollMs, () => this.#poll())
  }

  /** A part that fails does not stop the others. */
  async #pollOnce(): Promise<void> {
    const { clock, storage } = this.#settings
    const now = (clock.monotonic ?? clock.now)()
    for (const worker of this.#workers.values()) worker.wake()
    if (Math.abs(now - this.#recoveredAt) >= RECOVER_MS) {
      this.#recoveredAt = now
      await this.#reported(this.#bounded(storage.recover()))
    }
    for (const recurrence of this.#recurrences.values()) {
      await this.#reported(recurrence.storeNext())
    }
    for (const worker of this.#workers.values()) await this.#reported(worker.check())
  }

  #reported(work: Promise<void>): Promise<void> {
    return work.catch(this.#settings.onError)
  }

  close({ drainMs = DEFAULT_DRAIN_MS }: { readonly drainMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#closeOnce(drainMs)
    return this.#closing
  }

  async #closeOnce(drainMs: number): Promise<void> {
    this.#cancelPoll()
    const workers = [...this.#workers.values()]
    const drained = Promise.all([this.#polling, ...workers.map((worker) => worker.drain())])
    const late = (): Error => new PARAPET_KIT_JOBS_TIMEOUT(drainMs)
    const { clock, storage } = this.#settings
    if (!(await withDeadline(drained, drainMs, late, clock).then(isTrue, isFalse))) {
      for (const worker of workers) worker.abort()
      await withDeadline(drained, drainMs, late, clock).catch(this.#settings.onError)
    }
    this.#isClosed = true
    storage.close()
  }

  #prepare(queue: JobQueue, deadlineMs = this.#settings.deadlineMs): Promise<void> {
    if (this.#isClosed) return Promise.reject(new PARAPET_KIT_JOBS_CLOSED())
    const known = this.#prepared.get(queue.name)
    if (known !== undefined) return known
    const prepared = this.#settings.storage.prepare(queue)
    const preparing = this.#bounded(prepared, deadlineMs).catch((error) => {
      this.#prepared.delete(queue.name)
      throw error
    })
    this.#prepared.set(queue.name, preparing)
    return preparing
  }

  #bounded<T>(call: Promise<T>, deadlineMs = this.#settings.deadlineMs): Promise<T> {
    const { clock } = this.#settings
    return withDeadline(call, deadlineMs, () => new PARAPET_KIT_JOBS_TIMEOUT(deadlineMs), clock)
  }
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const isTrue = (): boolean => true
const isFalse = (): boolean => false

function queueOf(name: string): JobQueue {
  return { name, isSerial: false }
}

/** One for all schedules of a name, and no name of a job. */
function recurringQueueOf(name: string): JobQueue {
  return { name: `EVERY.${name}`, isSerial: true }
}
