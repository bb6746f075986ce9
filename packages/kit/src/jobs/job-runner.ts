/** The part of {@link Jobs} that does not depend on the storage: workers, recurring jobs, polling, closing. */
import { createHash } from 'node:crypto'
import {
  PARAPET_KIT_INVALID_ARGUMENT,
  PARAPET_KIT_JOBS_CLOSED,
  PARAPET_KIT_JOBS_FAILED,
  PARAPET_KIT_JOBS_TIMEOUT,
} from '../errors.ts'
import type { Clock } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import { parseSchedule, type Schedule } from './cron.ts'
import { copyData, identify, idOf, readJobOptions, requireName } from './job-rules.ts'
import type { JobQueue, JobStorage, NewJob } from './job-storage.ts'
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

interface Recurrence {
  readonly name: string
  readonly queue: JobQueue
  readonly schedule: Schedule
  /** The occurrence that is stored. */
  storedAt: number | undefined
}

/** How often attempts whose lease has ended are looked for. */
const RECOVER_MS = 15_000
const MAX_DEAD = 100
const DEFAULT_DRAIN_MS = 10_000
const EVERY = 'every.'

/** Makes the port on a storage. */
export function createJobs(settings: JobRunnerSettings): Jobs {
  return new JobRunner(settings)
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
    await this.#prepare(queue)
    // An ended job may have been moved to where the storage does not look for the same id.
    if (job.key !== job.id && (await this.#bounded(storage.find(queue, job.id))) !== null) {
      return false
    }
    if (await this.#bounded(storage.insert(queue, job))) return true
    if (queue.isSerial || (await this.#bounded(storage.find(queue, job.id))) !== null) return false
    throw new PARAPET_KIT_JOBS_FAILED(`it did not accept a job of "${queue.name}"`)
  }

  #limitsOf(name: string): Omit<Required<JobOptions>, 'concurrency'> {
    return this.#definitions.get(name)?.options ?? readJobOptions(name, {})
  }

  async every(name: string, given: number | string): Promise<void> {
    const definition = this.#definitions.get(name)
    const schedule = parseSchedule(given)
    if (definition === undefined) {
      throw new PARAPET_KIT_INVALID_ARGUMENT(`the job "${name}"`, 'must be defined before "every"')
    }
    const queue = recurringQueueOf(name, given)
    if (this.#workers.has(queue.name)) return
    const recurrence: Recurrence = { name, queue, schedule, storedAt: undefined }
    this.#recurrences.set(queue.name, recurrence)
    this.#addWorker(name, queue, {
      options: { ...definition.options, concurrency: 1 },
      handler: async (job) => {
        // Before the work, so that the chain goes on whenever this process ends.
        await this.#storeNext(recurrence)
        await definition.handler(job)
      },
    })
    await this.#storeNext(recurrence)
  }

  /** Stores the next occurrence before it is due, so that it is not lost if no instance runs then. */
  async #storeNext(recurrence: Recurrence): Promise<void> {
    const { name, queue, schedule } = recurrence
    const at = schedule.next(this.#settings.clock.now())
    if (at === recurrence.storedAt) return
    const key = `every:${new Date(at).toISOString()}`
    const id = idOf(queue.name, key)
    const isNew = await this.#insert(queue, { id, key, data: {}, at, ...this.#limitsOf(name) })
    // While the former occurrence waits, its place is taken; the next poll tries again.
    if (isNew || (await this.#bounded(this.#settings.storage.find(queue, id))) !== null) {
      recurrence.storedAt = at
    }
  }

  async cancel(name: string, key: string): Promise<boolean> {
    requireName(name)
    let found = false
    for (const queue of this.#queuesOf(name)) {
      const id = idOf(queue.name, key)
      await this.#prepare(queue)
      found = (await this.#bounded(this.#settings.storage.cancel(queue, id))) || found
      this.#workers.get(queue.name)?.cancel(id)
    }
    return found
  }

  async find(name: string, key: string): Promise<JobRecord | null> {
    requireName(name)
    for (const queue of this.#queuesOf(name)) {
      await this.#prepare(queue)
      // A job without a key of its own is found by its id.
      for (const id of [idOf(queue.name, key), ...(UUID.test(key) ? [key] : [])]) {
        const found = await this.#bounded(this.#settings.storage.find(queue, id))
        if (found !== null) return { ...found, name }
      }
    }
    return null
  }

  async dead(name: string): Promise<readonly JobRecord[]> {
    requireName(name)
    const queues = this.#queuesOf(name)
    for (const queue of queues) await this.#prepare(queue)
    const names = queues.map((queue) => queue.name)
    const found = await this.#bounded(this.#settings.storage.dead(names, MAX_DEAD))
    return found.map((job) => ({ ...job, name }))
  }

  async revive(name: string, id: string): Promise<boolean> {
    requireName(name)
    if (!UUID.test(id)) return false
    let found = false
    for (const queue of this.#queuesOf(name)) {
      await this.#prepare(queue)
      found = found || (await this.#bounded(this.#settings.storage.revive(queue, id)))
      if (found && this.#isStarted) this.#workers.get(queue.name)?.wake()
    }
    return found
  }

  #queuesOf(name: string): JobQueue[] {
    const recurring = [...this.#recurrences.values()].filter((each) => each.name === name)
    return [queueOf(name), ...recurring.map(({ queue }) => queue)]
  }

  async start(): Promise<void> {
    if (this.#isClosed) throw new PARAPET_KIT_JOBS_CLOSED()
    if (this.#isStarted) return
    for (const { queue } of this.#workers.values()) await this.#prepare(queue)
    this.#isStarted = true
    this.#settings.onStart?.()
    this.#poll()
  }

  #poll(): void {
    if (this.#isClosed) return
    this.#polling ??= this.#pollOnce()
      .catch(this.#settings.onError)
      .finally(() => {
        this.#polling = undefined
      })
    this.#cancelPoll = this.#settings.clock.schedule(this.#settings.pollMs, () => this.#poll())
  }

  async #pollOnce(): Promise<void> {
    const { clock, storage } = this.#settings
    if (clock.now() - this.#recoveredAt >= RECOVER_MS) {
      this.#recoveredAt = clock.now()
      await this.#bounded(storage.recover())
    }
    for (const recurrence of this.#recurrences.values()) await this.#storeNext(recurrence)
    for (const worker of this.#workers.values()) {
      worker.wake()
      await worker.check()
    }
  }

  async close({ drainMs = DEFAULT_DRAIN_MS }: { readonly drainMs?: number } = {}): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelPoll()
    await this.#polling
    const workers = [...this.#workers.values()]
    const drained = Promise.all(workers.map((worker) => worker.drain()))
    const late = (): Error => new PARAPET_KIT_JOBS_TIMEOUT(drainMs)
    const { clock, storage } = this.#settings
    if (!(await withDeadline(drained, drainMs, late, clock).then(isTrue, isFalse))) {
      for (const worker of workers) worker.abort()
      await withDeadline(drained, drainMs, late, clock).catch(this.#settings.onError)
    }
    storage.close()
  }

  #prepare(queue: JobQueue): Promise<void> {
    if (this.#isClosed) return Promise.reject(new PARAPET_KIT_JOBS_CLOSED())
    const known = this.#prepared.get(queue.name)
    if (known !== undefined) return known
    const preparing = this.#bounded(this.#settings.storage.prepare(queue)).catch((error) => {
      this.#prepared.delete(queue.name)
      throw error
    })
    this.#prepared.set(queue.name, preparing)
    return preparing
  }

  #bounded<T>(call: Promise<T>): Promise<T> {
    const { deadlineMs, clock } = this.#settings
    return withDeadline(call, deadlineMs, () => new PARAPET_KIT_JOBS_TIMEOUT(deadlineMs), clock)
  }
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const isTrue = (): boolean => true
const isFalse = (): boolean => false

function queueOf(name: string): JobQueue {
  return { name, isSerial: false }
}

/** A changed schedule is another queue, so that no occurrence of the old one blocks the new ones. */
function recurringQueueOf(name: string, schedule: number | string): JobQueue {
  const hash = createHash('sha256').update(String(schedule)).digest('hex').slice(0, 8)
  return { name: `${EVERY}${name}.${hash}`, isSerial: true }
}
