/** The storage of jobs on pg-boss: its tables, its states, its ids. */
import type { Clock } from '../time/clock.ts'
import {
  LEASE_GRACE_MS,
  type JobQueue,
  type JobStorage,
  type NewJob,
  type StoredJob,
  type TakenJob,
  type TakeRequest,
  type Upcoming,
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
    readonly token?: unknown
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

type StatementName = 'take' | 'release' | 'upcoming' | 'dead' | 'complete' | 'hold'

export class PgBossStorage implements JobStorage {
  readonly #boss: PgBossLike
  readonly #clock: Clock
  readonly #sql: Readonly<Record<StatementName, string>>

  constructor(boss: PgBossLike, schema: string, clock: Clock) {
    this.#boss = boss
    this.#clock = clock
    this.#sql = statements(schema)
  }

  async prepare({ name, isSerial }: JobQueue): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        if ((await this.#boss.getQueue(name)) !== null) return
        const policy = isSerial ? 'singleton' : 'standard'
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
      expireInSeconds: leaseSeconds(timeoutMs),
      retentionDays: RETENTION_DAYS,
      // Without it the job is due at once by the database's own clock.
      ...(at !== undefined && { startAfter: new Date(at) }),
    })
    return stored !== null
  }

  async take({ name, isSerial }: JobQueue, request: TakeRequest): Promise<TakenJob[]> {
    const { limit, token, retries, backoffMs, timeoutMs } = request
    const delay = backoffMs / 1000
    const values = [name, limit, isSerial, retries, delay, leaseSeconds(timeoutMs), token]
    const rows = (await this.#query(this.#sql.take, values).catch(noneIfOneRuns)) as BossJob[]
    return rows.map(({ id, data, retryCount }) => ({ id, ...data, attempt: retryCount + 1, token }))
  }

  async release({ name }: JobQueue, token: string): Promise<void> {
    await this.#query(this.#sql.release, [name, token])
  }

  async upcoming({ name }: JobQueue): Promise<Upcoming> {
    const rows = await this.#query(this.#sql.upcoming, [name])
    const { now, waiting } = rows[0] as { now: number; waiting: Upcoming['waiting'] | null }
    const rounded = (waiting ?? []).map(({ id, dueAt }) => ({ id, dueAt: Math.round(dueAt) }))
    return { now, waiting: rounded }
  }

  async remove({ name }: JobQueue, id: string): Promise<void> {
    await this.#boss.deleteJob(name, id)
  }

  async #query(text: string, values: unknown[]): Promise<unknown[]> {
    const { rows } = await this.#boss.getDb().executeSql(text, values)
    return rows as unknown[]
  }

  /** pg-boss would complete the attempt of another instance that has taken the job over, and so would `fail`. */
  async complete({ name }: JobQueue, { id, token }: TakenJob): Promise<void> {
    await this.#query(this.#sql.complete, [name, id, token])
  }

  async fail({ name }: JobQueue, { id, token }: TakenJob, error: string): Promise<void> {
    const held = await this.#query(this.#sql.hold, [name, id, token])
    if (held.length > 0) await this.#boss.fail(name, id, { message: error })
  }

  async owns({ name }: JobQueue, { id, token }: TakenJob): Promise<boolean> {
    const job = await this.#read(name, id)
    return job?.state === 'active' && job.output?.token === token
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
    const rows = await this.#query(this.#sql.dead, [[...queues], limit])
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

/** The statements that pg-boss does not have. */
function statements(schema: string): Readonly<Record<StatementName, string>> {
  const columns = `id::text AS id, data, state::text AS state, retry_count AS "retryCount",
    started_on AS "startedOn", output, completed_on`
  const owned = `name = $1 AND id = $2::uuid AND state = 'active' AND output->>'token' = $3`
  const failed = (table: string): string =>
    `SELECT ${columns} FROM ${schema}.${table} WHERE name = ANY ($1) AND state = 'failed'`
  return {
    // As its "fetch", which hides the errors of the database; besides, it stores who has taken the job.
    take: `WITH due AS (
        SELECT id FROM ${schema}.job
        WHERE name = $1 AND state < 'active' AND start_after < now() AND NOT ($3 AND EXISTS (
          SELECT 1 FROM ${schema}.job AS other WHERE other.name = $1 AND other.state = 'active'))
        ORDER BY created_on, id LIMIT $2 FOR UPDATE SKIP LOCKED)
      UPDATE ${schema}.job SET state = 'active', started_on = now(),
        retry_count = retry_count + CASE WHEN started_on IS NULL THEN 0 ELSE 1 END,
        retry_limit = $4, retry_delay = $5, expire_in = $6::int * interval '1 second',
        output = COALESCE(output, '{}') || jsonb_build_object('token', $7::text)
      FROM due WHERE job.name = $1 AND job.id = due.id
      RETURNING job.id::text AS id, job.data, job.retry_count AS "retryCount"`,
    release: `UPDATE ${schema}.job SET
        state = (CASE retry_count WHEN 0 THEN 'created' ELSE 'retry' END)::${schema}.job_state,
        started_on = CASE retry_count WHEN 0 THEN NULL ELSE started_on END,
        retry_count = GREATEST(retry_count - 1, 0)
      WHERE name = $1 AND state = 'active' AND output->>'token' = $2`,
    complete: `UPDATE ${schema}.job SET state = 'completed', completed_on = now(), output = NULL
      WHERE ${owned}`,
    // Nobody takes the job over before pg-boss has failed it.
    hold: `UPDATE ${schema}.job SET expire_in = now() - started_on + interval '60 seconds'
      WHERE ${owned} RETURNING id`,
    upcoming: `SELECT extract(epoch FROM now())::float8 * 1000 AS now,
      (SELECT json_agg(json_build_object(
          'id', id, 'dueAt', extract(epoch FROM start_after)::float8 * 1000))
        FROM ${schema}.job WHERE name = $1 AND state = 'created') AS waiting`,
    dead: `SELECT * FROM (${failed('job')} UNION ALL ${failed('archive')}) AS dead
      ORDER BY completed_on DESC, id DESC LIMIT $2`,
  }
}

function leaseSeconds(timeoutMs: number): number {
  return Math.ceil((timeoutMs + LEASE_GRACE_MS) / 1000)
}

const UNIQUE_VIOLATION = '23505'

/** Two instances have tried to take two jobs of a serial queue. */
function noneIfOneRuns(error: unknown): never[] {
  const { code, cause } = error as { readonly code?: unknown; readonly cause?: { code?: unknown } }
  if (code === UNIQUE_VIOLATION || cause?.code === UNIQUE_VIOLATION) return []
  throw error
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
