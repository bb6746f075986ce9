/** The storage behind {@link Jobs}, which the runner drives: in memory, or in pg-boss. */
import type { JobData, JobOptions, JobRecord } from './jobs.ts'

/** Where jobs wait. */
export interface JobQueue {
  /** The queue's name in the storage. */
  readonly name: string
  /** At most one job runs, in the whole fleet. */
  readonly isSerial: boolean
}

/** What bounds the attempts of a job. */
export type JobLimits = Omit<Required<JobOptions>, 'concurrency'>

/** A job to store. Its limits hold until a worker takes it. */
export interface NewJob extends JobLimits {
  readonly id: string
  readonly key: string
  readonly data: JobData
  /** @default now */
  readonly at?: number
}

/** Asks for jobs that are due. From then on the limits of the worker hold. */
export interface TakeRequest extends JobLimits {
  readonly limit: number
  /** Names what is taken by this request, so that it can be released if the answer is lost. */
  readonly token: string
}

/** A job that was taken, and belongs to this instance until its lease ends. */
export interface TakenJob {
  readonly id: string
  readonly key: string
  readonly data: JobData
  readonly attempt: number
  readonly dueAt: number
  /** Of the request that took it. */
  readonly token: string
}

/** The occurrences of a recurring job that were not begun, and the time by the storage's own clock. */
export interface Upcoming {
  readonly now: number
  readonly waiting: readonly { readonly id: string; readonly dueAt: number }[]
}

/** A stored job; the runner adds the name. */
export type StoredJob = Omit<JobRecord, 'name'>

/** How much longer than its timeout a job is leased: for a handler to stop, and to record the result. */
export const LEASE_GRACE_MS = 30_000

/** The storage. */
export interface JobStorage {
  /** Before the first `insert`. */
  prepare(queue: JobQueue): Promise<void>
  /** @returns `false`: the id is used, or there is no such queue. */
  insert(queue: JobQueue, job: NewJob): Promise<boolean>
  take(queue: JobQueue, request: TakeRequest): Promise<TakenJob[]>
  /** Returns what a request has taken, as if it had not been taken: no attempt is used. */
  release(queue: JobQueue, token: string): Promise<void>
  upcoming(queue: JobQueue): Promise<Upcoming>
  /** Forgets a job, so that its id can be used again. */
  remove(queue: JobQueue, id: string): Promise<void>
  /** Records the result of an attempt; without effect if the job was lost meanwhile. */
  complete(queue: JobQueue, job: TakenJob): Promise<void>
  fail(queue: JobQueue, job: TakenJob, error: string): Promise<void>
  /** Whether the attempt still belongs to this instance. */
  owns(queue: JobQueue, job: TakenJob): Promise<boolean>
  cancel(queue: JobQueue, id: string): Promise<boolean>
  find(queue: JobQueue, id: string): Promise<StoredJob | null>
  /** The dead jobs of some queues, the latest first. */
  dead(queues: readonly string[], limit: number): Promise<StoredJob[]>
  revive(queue: JobQueue, id: string): Promise<boolean>
  /** Ends the attempts whose lease has ended. */
  recover(): Promise<void>
  close(): void
}
