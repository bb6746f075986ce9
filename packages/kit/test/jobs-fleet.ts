/** Jobs for tests: in memory, on PGlite and on PostgreSQL, with a clock that only the test moves. */
import {
  createManualClock,
  createMemoryJobs,
  createPgBossDb,
  createPgBossJobs,
  createSqlClient,
  type Jobs,
  type ManualClock,
  type SqlClient,
} from '@parapet/kit'
import { closeJobs, FAKE_CLOCK, openPglite, usePostgres } from '@parapet/testing'
import { Pool } from 'pg'
import PgBoss from 'pg-boss'
import type { Test } from 'tap'

/** The instances of one service. */
export interface Fleet {
  readonly clock: ManualClock
  /** What handlers and storages have reported. */
  readonly errors: unknown[]
  /** Starts another instance; in memory there is only one. @param clock of a process with its own time. */
  readonly open: (clock?: ManualClock) => Promise<Jobs>
  /** Moves the clocks of the instances and of the database. */
  readonly advance: (ms: number) => Promise<void>
  /** Sets the clocks of the instances and of the database to a wrong time, without a timer noticing it. */
  readonly shift: (offsetMs: number) => Promise<void>
  /** What happens between the answer of the database to a statement and the instance that waits for it. */
  readonly faults: { afterQuery?: (text: string) => Promise<void> }
  /** The database, past the faults. */
  readonly sql?: SqlClient
  readonly schema?: string
  /** Waits until the condition holds; fails when it does not within many round trips. */
  readonly until: (condition: () => boolean | Promise<boolean>) => Promise<void>
}

export type OpenFleet = (t: Test) => Promise<Fleet | null>

const POLL_MS = 1000

/** Its wall clock can be set; its timers and its monotonic clock go on. */
function createSettableClock(): [ManualClock, (offsetMs: number) => void] {
  const manual = createManualClock()
  let offset = 0
  const now = (): number => manual.now() + offset
  return [{ ...manual, now, monotonic: manual.now }, (ms) => void (offset = ms)]
}

export const openMemoryFleet: OpenFleet = async (t) => {
  const [clock, set] = createSettableClock()
  const errors: unknown[] = []
  const onError = (error: unknown): void => void errors.push(error)
  const jobs = createMemoryJobs({ clock, onError, pollMs: POLL_MS, onNotice: () => {} })
  t.after(() => closeJobs(jobs, clock))
  return {
    clock,
    errors,
    faults: {},
    open: async () => jobs,
    shift: async (ms) => set(ms),
    until: waiting(turn),
    async advance(ms) {
      clock.advance(ms)
      await turn()
    },
  }
}

/** Opening PGlite takes a second, so the tests of a file share one. */
export async function createPgliteFleets(t: Test): Promise<OpenFleet> {
  const db = await openPglite()
  t.after(() => db.close())
  return async (t) => {
    await db.exec('DROP SCHEMA IF EXISTS fake_clock CASCADE; DROP SCHEMA IF EXISTS pgboss CASCADE')
    await db.exec(FAKE_CLOCK)
    await db.exec('SET search_path = fake_clock, pg_catalog')
    return openSqlFleet(t, createSqlClient(db), 'pgboss')
  }
}

export const openPostgresFleet: OpenFleet = async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return null
  const { schema } = postgres
  await postgres.pool.query(FAKE_CLOCK.replaceAll('fake_clock', schema))
  const url = new URL(postgres.url)
  // Its name is found before the one of PostgreSQL.
  url.searchParams.set('options', `-c search_path=${schema},pg_catalog`)
  const pool = new Pool({ connectionString: url.href, max: 8 })
  t.after(() => pool.end())
  return openSqlFleet(t, createSqlClient(pool), schema)
}

async function openSqlFleet(t: Test, sql: SqlClient, schema: string): Promise<Fleet> {
  const [clock, set] = createSettableClock()
  const faults: Fleet['faults'] = {}
  const faulty: SqlClient = {
    ...sql,
    transaction: (work, limits) => sql.transaction(work, limits),
    async query(text, values) {
      const answer = await sql.query(text, values)
      await faults.afterQuery?.(text)
      return answer as never
    },
  }
  const errors: unknown[] = []
  const onError = (error: unknown): void => void errors.push(error)
  const setDatabase = () => sql.query('UPDATE clock SET ms = $1', [clock.now()])
  await setDatabase()
  // PGlite answers without a turn of the event loop, which deadlines wait for.
  const answered = async (): Promise<void> => {
    await sql.query('SELECT 1')
    await turn()
  }
  const until = waiting(answered)
  return {
    clock,
    errors,
    faults,
    sql,
    schema,
    until,
    async shift(ms) {
      set(ms)
      await setDatabase()
    },
    async open(own = clock) {
      const db = createPgBossDb(faulty)
      const boss = new PgBoss({ db, schema, schedule: false, supervise: false })
      boss.on('error', onError)
      await boss.start()
      const jobs = createPgBossJobs(boss, { schema, clock: own, onError, pollMs: POLL_MS })
      t.after(async () => {
        await closeJobs(jobs, own)
        await boss.stop({ graceful: false })
      })
      return jobs
    },
    async advance(ms) {
      await sql.query('UPDATE clock SET ms = $1', [clock.now() + ms])
      clock.advance(ms)
      await answered()
    },
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

function waiting(turn: () => Promise<void>): Fleet['until'] {
  return async (condition) => {
    for (let count = 0; count < 5000; count++) {
      if (await condition()) return
      await turn()
    }
    throw new Error(`it did not happen: ${condition.toString()}`)
  }
}
