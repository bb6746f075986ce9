/** The storage behind {@link Jobs}, which the runner drives: in memory, or in pg-boss. */
import type { JobData, JobRecord } from './jobs.ts'

/** Where jobs wait. */
export interface JobQueue {
  /** The queue's name in the storage. */
  readonly name: string
  /** At most one job waits, and at most one runs. */
  readonly isSerial: boolean
}

/** A job to store. */
export interface NewJob {
  readonly id: string
  readonly key: string
  readonly data: JobData
  /** @default now */
  readonly at?: number
  readonly retries: number
  readonly backoffMs: number
  readonly timeoutMs: number
}

/** A job that was taken, and belongs to this instance until its lease ends. */
export interface TakenJob {
  readonly id: string
  readonly key: string
  readonly data: JobData
  readonly attempt: number
  readonly dueAt: number
}

/** A stored job; the runner adds the name. */
export type StoredJob = Omit<JobRecord, 'name'>

/** How much longer than its timeout a job is leased: for a handler to stop, and to record the result. */
export const LEASE_GRACE_MS = 30_000

/** The storage. No method may be called before the queue was prepared. */
export interface JobStorage {
  prepare(queue: JobQueue): Promise<void>
  /** @returns `false`: the id, or the place of a serial queue, is taken. */
  insert(queue: JobQueue, job: NewJob): Promise<boolean>
  /** Takes jobs that are due. */
  take(queue: JobQueue, limit: number): Promise<TakenJob[]>
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
