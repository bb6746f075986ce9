/** The storage of jobs on pg-boss: its tables, its states, its ids. */
import type { Clock } from '../time/clock.ts'
import {
  LEASE_GRACE_MS,
  type JobQueue,
  type JobStorage,
  type NewJob,
  type StoredJob,
  type TakenJob,
} from './job-storage.ts'
import type { JobData, JobState } from './jobs.ts'
import type { PgBossLike } from './pg-boss.ts'

/** What is stored as the payload of a job of pg-boss. */
interface Payload {
  readonly key: string
  readonly data: JobData
  readonly dueAt: number
}

/** The columns that are used. */
interface BossJob {
  readonly id: string
  readonly data: Payload
  readonly state: 'created' | 'retry' | 'active' | 'completed' | 'cancelled' | 'failed'
  readonly retryCount: number
  readonly startedOn: unknown
  readonly output: {
    readonly message?: unknown
    readonly value?: { readonly message?: unknown }
  } | null
}

const STATES: Readonly<Record<BossJob['state'], JobState>> = {
  created: 'waiting',
  retry: 'waiting',
  active: 'running',
  completed: 'done',
  cancelled: 'cancelled',
  failed: 'dead',
}

/** Two instances that create queues at the same time may get a deadlock in PostgreSQL. */
const PREPARE_ATTEMPTS = 5
/** pg-boss deletes jobs that wait for longer. */
const RETENTION_DAYS = 3650

export class PgBossStorage implements JobStorage {
  readonly #boss: PgBossLike
  readonly #clock: Clock
  readonly #deadSql: string

  constructor(boss: PgBossLike, schema: string, clock: Clock) {
    this.#boss = boss
    this.#clock = clock
    const columns = `id::text AS id, data, state::text AS state, retry_count AS "retryCount",
      started_on AS "startedOn", output, completed_on`
    const failed = (table: string): string =>
      `SELECT ${columns} FROM ${schema}.${table} WHERE name = ANY ($1) AND state = 'failed'`
    this.#deadSql = `SELECT * FROM (${failed('job')} UNION ALL ${failed('archive')}) AS dead
      ORDER BY completed_on DESC, id DESC LIMIT $2`
  }

  async prepare({ name, isSerial }: JobQueue): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        if ((await this.#boss.getQueue(name)) !== null) return
        const policy = isSerial ? 'stately' : 'standard'
        await this.#boss.createQueue(name, { name, policy } as never)
        return
      } catch (error) {
        if (attempt === PREPARE_ATTEMPTS) throw error
      }
    }
  }

  async insert({ name }: JobQueue, job: NewJob): Promise<boolean> {
    const { id, key, data, at, retries, backoffMs, timeoutMs } = job
    const payload: Payload = { key, data, dueAt: at ?? this.#clock.now() }
    const stored = await this.#boss.send(name, payload, {
      id,
      retryLimit: retries,
      retryDelay: backoffMs / 1000,
      retryBackoff: true,
      expireInSeconds: Math.ceil((timeoutMs + LEASE_GRACE_MS) / 1000),
      retentionDays: RETENTION_DAYS,
      // Without it the job is due at once by the database's own clock.
      ...(at !== undefined && { startAfter: new Date(at) }),
    })
    return stored !== null
  }

  async take({ name }: JobQueue, limit: number): Promise<TakenJob[]> {
    const options = { includeMetadata: true, batchSize: limit, priority: false } as const
    const jobs = (await this.#boss.fetch(name, options)) as BossJob[]
    return jobs.map(({ id, data, retryCount }) => ({ id, ...data, attempt: retryCount + 1 }))
  }

  async complete({ name }: JobQueue, { id }: TakenJob): Promise<void> {
    await this.#boss.complete(name, id)
  }

  async fail(queue: JobQueue, job: TakenJob, error: string): Promise<void> {
    // pg-boss would fail the attempt of another instance that has taken the job over.
    if (await this.owns(queue, job)) await this.#boss.fail(queue.name, job.id, { message: error })
  }

  async owns({ name }: JobQueue, { id, attempt }: TakenJob): Promise<boolean> {
    const job = await this.#read(name, id)
    return job?.state === 'active' && job.retryCount + 1 === attempt
  }

  async cancel({ name }: JobQueue, id: string): Promise<boolean> {
    return isAffected(await this.#boss.cancel(name, id))
  }

  async find({ name }: JobQueue, id: string): Promise<StoredJob | null> {
    const job = await this.#read(name, id)
    return job === null ? null : recordOf(job)
  }

  async #read(name: string, id: string): Promise<BossJob | null> {
    return (await this.#boss.getJobById(name, id, { includeArchive: true })) as BossJob | null
  }

  async dead(queues: readonly string[], limit: number): Promise<StoredJob[]> {
    const { rows } = await this.#boss.getDb().executeSql(this.#deadSql, [[...queues], limit])
    return (rows as BossJob[]).map(recordOf)
  }

  async revive({ name }: JobQueue, id: string): Promise<boolean> {
    return isAffected(await this.#boss.retry(name, id))
  }

  async recover(): Promise<void> {
    await this.#boss.expire()
  }

  /** The boss is the caller's. */
  close(): void {}
}

function isAffected(response: unknown): boolean {
  return ((response as { readonly affected?: number } | undefined)?.affected ?? 0) > 0
}

function recordOf({ id, data, state, retryCount, startedOn, output }: BossJob): StoredJob {
  const error = output?.message ?? output?.value?.message
  return {
    id,
    key: data.key,
    data: data.data,
    dueAt: data.dueAt,
    state: STATES[state],
    attempts: startedOn === null ? 0 : retryCount + 1,
    ...(typeof error === 'string' && { error }),
  }
}
