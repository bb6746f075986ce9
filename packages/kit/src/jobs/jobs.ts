/** The port for work that must outlive a request, and with pg-boss also the process. */

/** What JSON can hold. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/** The payload of a job: a JSON object of at most 64 KiB. It is stored as it is: never put a secret in it. */
export type JobData = Readonly<Record<string, JsonValue>>

/** One attempt to run a job, as its handler receives it. */
export interface Job<Data extends JobData = JobData> {
  /** The same in every attempt. */
  readonly id: string
  readonly name: string
  /**
   * The idempotency key, the same in every attempt: the `key` of `enqueue`, `every:<time>` of an occurrence,
   * otherwise the id. Store it with what the handler changes, so that a repeated attempt changes nothing.
   */
  readonly key: string
  readonly data: Data
  /** 1 for the first attempt. A process that was killed has used an attempt. */
  readonly attempt: number
  /** When the job was due, in milliseconds since the epoch. */
  readonly dueAt: number
  /**
   * Aborted when `timeoutMs` has passed, when the job is cancelled, when another instance has taken it over,
   * and when `close` stops waiting. A handler that goes on after that may overlap with its next attempt;
   * 30 s after `timeoutMs` it is reported to `onError`, and its place is given to other jobs.
   */
  readonly signal: AbortSignal
}

/**
 * Does the work. If it rejects, the job is tried again; after the last attempt it is dead. If it
 * resolves, the job is done and its key stays used.
 */
export type JobHandler<Data extends JobData = JobData> = (job: Job<Data>) => Promise<void>

/** How jobs of one name run. */
export interface JobOptions {
  /** Further attempts after the first one, 0 to 20. @default 5 */
  readonly retries?: number
  /**
   * The wait before the first further attempt, 1000 to 3 600 000 milliseconds, in whole seconds. It
   * doubles each time, up to 2^15 times, and up to as much again is added at random. @default 1000
   */
  readonly backoffMs?: number
  /** How long an attempt may take, 1000 to 82 800 000 milliseconds. @default 60_000 */
  readonly timeoutMs?: number
  /** How many jobs of this name one instance runs at the same time, 1 to 100. @default 1 */
  readonly concurrency?: number
}

/** What {@link Jobs.enqueue} takes besides the payload. */
export interface EnqueueOptions {
  /** Names the job, 1 to 256 characters: as long as the key is known, there is one such job. @default a new id */
  readonly key?: string
  /** When the job is due, in milliseconds since the epoch, up to the year 9999. @default now */
  readonly at?: number
}

/** What {@link Jobs.enqueue} returns. */
export interface Enqueued {
  readonly id: string
  readonly key: string
  /** `false`: a job with this key existed already, in whatever state; nothing was changed. */
  readonly isNew: boolean
}

/** `waiting`: due now or later, also for a further attempt. `dead`: the last attempt failed. */
export type JobState = 'waiting' | 'running' | 'done' | 'cancelled' | 'dead'

/** A job as it is stored. */
export interface JobRecord {
  readonly id: string
  readonly name: string
  readonly key: string
  readonly data: JobData
  readonly state: JobState
  /** Attempts that were begun. */
  readonly attempts: number
  readonly dueAt: number
  /** Name or code, and message, of the last error; at most 500 characters. */
  readonly error?: string
}

/**
 * Jobs that run at least once.
 *
 * - **Accepted is stored.** When `enqueue` has resolved, the job runs, or becomes dead and readable. When
 *   it has rejected with PARAPET_KIT_JOBS_TIMEOUT, it may or may not be stored: call it again with the
 *   same key.
 * - **One key, one job.** Concurrent calls with one key, from any instance, store one job. The key stays
 *   used after the job has ended, for as long as the implementation keeps ended jobs.
 * - **At least once.** A process that dies after the work and before the job is recorded as done leaves a
 *   job that runs again: use `job.key` to make that harmless. Two attempts never run at the same time, as
 *   long as handlers stop at `job.signal`.
 * - **A process that is killed** holds its job until `timeoutMs` and 30 s have passed; then another
 *   attempt begins.
 * - Every call to the storage has a deadline. Nothing runs before `start`.
 */
export interface Jobs {
  /** `false`: jobs end with the process. */
  readonly isDurable: boolean
  /**
   * Says how jobs of a name run. Every instance that calls `start` defines the same names. A name of
   * another instance can be enqueued without it: the options of the instance that runs the job hold.
   *
   * @param name lower case: letters, digits, `.`, `_`, `-`; at most 64 characters.
   * @throws PARAPET_KIT_INVALID_ARGUMENT the name is malformed or defined already, or an option is out of range.
   */
  define<Data extends JobData = JobData>(
    name: string,
    handler: JobHandler<Data>,
    options?: JobOptions,
  ): void
  /**
   * Stores a job.
   *
   * @throws PARAPET_KIT_INVALID_ARGUMENT
   * @throws PARAPET_KIT_JOBS_TIMEOUT it is unknown whether the job was stored.
   * @throws PARAPET_KIT_JOBS_FULL memory only.
   * @throws PARAPET_KIT_JOBS_FAILED the storage refused it.
   */
  enqueue(name: string, data: JobData, options?: EnqueueOptions): Promise<Enqueued>
  /**
   * Runs a defined name again and again, one occurrence at a time in the whole fleet, by the key
   * `every:<ISO time>`. An occurrence that was missed runs once, late; several missed ones run as one. An
   * occurrence that is due while the former one runs waits for it. The next occurrence is stored by the
   * clock of the storage: with pg-boss, the one of the database. A name can have several schedules.
   *
   * @param schedule milliseconds from 1000 on, counted from the epoch, or five cron fields in UTC:
   *   `15 3 * * 1-5`.
   */
  every(name: string, schedule: number | string): Promise<void>
  /**
   * Cancels a job that has not ended. If it runs, its signal is aborted, on this instance at once, on
   * another one at its next poll, and it is not tried again.
   *
   * @param key as `enqueue` returns it, or `every:<ISO time>` of an occurrence.
   * @returns whether there was such a job.
   */
  cancel(name: string, key: string): Promise<boolean>
  /** Finds a job by its key, as long as it is kept. */
  find(name: string, key: string): Promise<JobRecord | null>
  /** Lists the dead jobs of a name, also of its occurrences, the latest first, at most 100. */
  dead(name: string): Promise<readonly JobRecord[]>
  /** Gives a dead job, or a dead occurrence, one more attempt, now. @returns whether there was such a job. */
  revive(name: string, id: string): Promise<boolean>
  /** Begins to run what is defined. */
  start(): Promise<void>
  /**
   * Takes no more jobs, waits for those that run, at most `drainMs`, then aborts their signals and waits
   * `drainMs` again. What still runs is tried again by another instance when its time is up. A job that was
   * taken and not begun is returned and has used no attempt. Until `close` has resolved, handlers can
   * enqueue. A second call waits for the first one.
   *
   * @param drainMs @default 10_000
   */
  close(options?: { readonly drainMs?: number }): Promise<void>
}
