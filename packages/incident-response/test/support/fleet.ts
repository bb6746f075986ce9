/** Services for tests: in memory, on PGlite and on PostgreSQL, with a clock that only the test moves. */
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
import { incidentResponse, type IncidentResponseOptions } from '@parapet/incident-response'
import { closeJobs, FAKE_CLOCK, openPglite, usePostgres } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import { Pool } from 'pg'
import PgBoss from 'pg-boss'
import type { Test } from 'tap'

/** One database, or none, and the instances on it. */
export interface Fleet {
  readonly clock: ManualClock
  readonly sql: SqlClient | undefined
  /** Starts an instance. @param isDoomed it will not be able to close. */
  readonly open: (options?: IncidentResponseOptions, isDoomed?: boolean) => Promise<FastifyInstance>
  /** Starts the jobs of an instance. @param wrap replaces the database that they see. */
  readonly openJobs: (wrap?: (sql: SqlClient) => SqlClient) => Promise<OpenJobs>
  /** Moves the clocks of the instances and of the database. */
  readonly advance: (ms: number) => Promise<void>
  /** Moves the clocks in steps until the condition holds. */
  readonly until: (condition: () => boolean | Promise<boolean>, stepMs?: number) => Promise<void>
}

/** Jobs, and how they end at once. */
interface OpenJobs {
  readonly jobs: Jobs
  /** Leaves everything as a killed process would. */
  readonly abandon: () => Promise<void>
}

export type OpenFleet = (t: Test) => Promise<Fleet | null>

const POLL_MS = 500
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** In memory there is one instance. */
export const openMemoryFleet: OpenFleet = async (t) => {
  const clock = createManualClock()
  const openJobs = async () => {
    const jobs = createMemoryJobs({ clock, pollMs: POLL_MS, onNotice: () => {}, onError: () => {} })
    const abandon = () => closeJobs(jobs, clock)
    t.after(abandon)
    return { jobs, abandon }
  }
  return fleetOf(t, { clock, sql: undefined, openJobs, advance: async (ms) => clock.advance(ms) })
}

/** Opening PGlite takes a second, so the tests of a file share one. */
export async function createPgliteFleets(t: Test): Promise<OpenFleet> {
  const db = await openPglite()
  t.after(() => db.close())
  return async (t) => {
    const drop = ['fake_clock', 'pgboss', 'app'].map(
      (name) => `DROP SCHEMA IF EXISTS ${name} CASCADE`,
    )
    await db.exec(`SET search_path = pg_catalog; ${drop.join('; ')}; CREATE SCHEMA app`)
    await db.exec(FAKE_CLOCK)
    await db.exec('SET search_path = app, fake_clock, pg_catalog')
    return sqlFleet(t, createSqlClient(db), 'pgboss')
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
  pool.on('error', () => {})
  t.after(() => pool.end())
  return sqlFleet(t, createSqlClient(pool), schema)
}

async function sqlFleet(t: Test, sql: SqlClient, schema: string): Promise<Fleet> {
  const clock = createManualClock()
  const advance = async (ms: number): Promise<void> => {
    await sql.query('UPDATE clock SET ms = $1', [clock.now() + ms])
    clock.advance(ms)
    await sql.query('SELECT 1')
  }
  await advance(0)
  const openCalls = new Set<ReadonlySet<Promise<unknown>>>()
  const openJobs = async (wrap?: (sql: SqlClient) => SqlClient) => {
    // Its tables are created past the faults of a test.
    const state = { db: createPgBossDb(sql) }
    const calls = new Set<Promise<unknown>>()
    const db = {
      executeSql(text: string, values?: unknown[]) {
        const call = state.db.executeSql(text, values)
        calls.add(call)
        const forget = () => void calls.delete(call)
        call.then(forget, forget)
        return call
      },
    }
    // The calls of a process that dies are never answered.
    if (wrap === undefined) openCalls.add(calls)
    const boss = new PgBoss({ db, schema, schedule: false, supervise: false, ...KEEP })
    boss.on('error', () => {})
    await boss.start()
    state.db = createPgBossDb(wrap === undefined ? sql : wrap(sql))
    const jobs = createPgBossJobs(boss, { schema, clock, pollMs: POLL_MS, onError: () => {} })
    let ending: Promise<void> | undefined
    const end = async () => {
      await closeJobs(jobs, clock)
      await boss.stop({ graceful: false })
    }
    const abandon = () => (ending ??= end())
    t.after(abandon)
    return { jobs, abandon }
  }
  /** Waits until no jobs wait for the database. @returns whether any did. */
  const answered = async () => {
    const calls = [...openCalls].flatMap((each) => [...each])
    await Promise.allSettled(calls)
    return calls.length > 0
  }
  return fleetOf(t, { clock, sql, openJobs, advance }, answered)
}

const KEEP = { archiveFailedAfterSeconds: 86_400 } as const

function fleetOf(
  t: Test,
  parts: Omit<Fleet, 'open' | 'until'>,
  answered: () => Promise<boolean> = async () => false,
): Fleet {
  const { clock, sql, openJobs, advance } = parts
  const apps = new Set<FastifyInstance>()
  /**
   * Waits until no instance has anything under way: otherwise the time of a call runs out, the lease of a job
   * ends, or a task counts as late whose job is only being stored.
   */
  const rest = async () => {
    for (let isBusy = true; isBusy;) {
      isBusy = false
      for (let turns = 0; turns < 5; turns++) {
        for (const app of apps) await app.incidents.settle()
        await turn()
        // What one instance does may give work to another one that was at rest.
        isBusy = (await answered()) || isBusy
      }
    }
  }
  return {
    ...parts,
    async open(options = {}, isDoomed = false) {
      const app = Fastify()
      const own = options.jobs === undefined ? await openJobs() : undefined
      // After the plugin: hooks run in the opposite order.
      if (own !== undefined) app.addHook('onClose', own.abandon)
      const jobs = options.jobs ?? own!.jobs
      const stored = sql === undefined ? {} : { sql }
      await app.register(incidentResponse, { clock, jobs, ...stored, ...options })
      await app.register(app.incidents.routes, { prefix: '/incidents', guard: () => true })
      await app.ready()
      if (isDoomed) return app
      apps.add(app)
      t.after(() => app.close())
      return app
    },
    async until(condition, stepMs = POLL_MS) {
      for (let count = 0; count < 2000; count++) {
        if (await condition()) return
        // What a long step makes due is taken in a short one: jobs are returned whose answer comes late.
        for (const ms of stepMs > POLL_MS ? [stepMs - POLL_MS, POLL_MS] : [stepMs]) {
          await advance(ms)
          await rest()
        }
      }
      throw new Error(`it did not happen: ${condition.toString()}`)
    },
  }
}
