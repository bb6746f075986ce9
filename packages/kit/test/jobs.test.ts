import {
  createMemoryJobs,
  createManualClock,
  createPgBossDb,
  createPgBossJobs,
  createSqlClient,
  type PgBossDb,
} from '@parapet/kit'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { plainNode, runs, usePostgres } from '@parapet/testing'
import cronParser from 'cron-parser'
import PgBoss from 'pg-boss'
import { Pool } from 'pg'
import fc from 'fast-check'
import t from 'tap'
import { parseSchedule } from '../src/jobs/cron.ts'
import { fleetContract, jobsContract } from './jobs-contract.ts'
import { createPgliteFleets, openMemoryFleet, openPostgresFleet } from './jobs-fleet.ts'

const TABLES = `
  CREATE TABLE effects (round text, key text, PRIMARY KEY (round, key));
  CREATE TABLE attempts (round text, key text, attempt int, pid int, began timestamptz, ended timestamptz)`
const OVERLAPS = `
  SELECT a.round, a.key, a.attempt, b.attempt AS other FROM attempts a JOIN attempts b
    ON a.round = b.round AND a.key = b.key AND a.ctid <> b.ctid
    AND b.began >= a.began AND b.began < a.ended`

await t.test('the contract, in memory', (t) => jobsContract(t, openMemoryFleet))
await t.test('the contract, on pg-boss over PGlite', async (t) =>
  jobsContract(t, await createPgliteFleets(t)),
)
await t.test('the contract of a fleet, on pg-boss over PostgreSQL', (t) =>
  fleetContract(t, openPostgresFleet),
)

await t.test(
  'memory is bounded, and ended jobs and their keys are forgotten in time',
  async (t) => {
    const clock = createManualClock()
    const notices: string[] = []
    const onNotice = (message: string): void => void notices.push(message)
    const jobs = createMemoryJobs({ clock, maxJobs: 2, keepMs: 60_000, onNotice })
    t.after(() => jobs.close())
    t.equal(jobs.isDurable, false)
    jobs.define('mail', async () => {})
    await jobs.enqueue('mail', {}, { key: 'a' })
    await jobs.enqueue('mail', {}, { key: 'b' })
    const full = { code: 'PARAPET_KIT_JOBS_FULL', statusCode: 503 }
    await t.rejects(jobs.enqueue('mail', {}, { key: 'c' }), full)
    await jobs.start()
    await jobs.start()
    t.match(notices, [/^Jobs are stored in memory; they are lost when the process ends\./])
    clock.advance(1000)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    t.match(await jobs.find('mail', 'b'), { state: 'done' })
    await t.rejects(jobs.enqueue('mail', {}, { key: 'c' }), full)
    clock.advance(60_001)
    t.match(await jobs.enqueue('mail', {}, { key: 'a' }), { isNew: true })
  },
)

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

await t.test('ended jobs without a key make room in a full memory', async (t) => {
  const clock = createManualClock()
  const jobs = createMemoryJobs({ clock, maxJobs: 10, onNotice() {}, onError() {} })
  t.after(() => jobs.close())
  jobs.define(
    'mail',
    async ({ data }) => {
      if (data['fails'] === true) throw new Error('no')
    },
    { retries: 0 },
  )
  await jobs.start()
  await jobs.enqueue('mail', {}, { key: 'kept' })
  const dead = await jobs.enqueue('mail', { fails: true })
  await turns()
  for (let index = 0; index < 30; index++) {
    t.match(await jobs.enqueue('mail', {}), { isNew: true })
    await turns()
  }
  t.match(await jobs.find('mail', 'kept'), { state: 'done' })
  t.match(await jobs.find('mail', dead.key), { state: 'dead' }, 'dead jobs are dropped last')
  const at = clock.now() + 60_000
  for (let index = 0; index < 9; index++) await jobs.enqueue('mail', {}, { at })
  t.equal(await jobs.find('mail', dead.key), null)
  await t.rejects(jobs.enqueue('mail', {}, { at }), { code: 'PARAPET_KIT_JOBS_FULL' })
})

await t.test('a recurring job that cannot be stored stops no other job', async (t) => {
  const clock = createManualClock()
  const errors: unknown[] = []
  const onError = (error: unknown): void => void errors.push(error)
  const jobs = createMemoryJobs({ clock, maxJobs: 2, onNotice() {}, onError })
  t.after(() => jobs.close())
  const ran: string[] = []
  jobs.define('tick', async () => void ran.push('tick'))
  jobs.define('mail', async ({ key }) => void ran.push(key))
  await jobs.every('tick', 1000)
  await jobs.enqueue('mail', {}, { key: 'a', at: clock.now() + 5000 })
  await jobs.start()
  for (let second = 0; second < 10; second++) {
    clock.advance(1000)
    await turns()
  }
  t.match(errors[0], { code: 'PARAPET_KIT_JOBS_FULL' })
  t.ok(ran.includes('a'))
  t.ok(ran.filter((each) => each === 'tick').length >= 4, 'the work is done nevertheless')
})

await t.test('in memory, a clock that is set back delays nothing', async (t) => {
  const manual = createManualClock()
  let offset = 0
  const clock = { ...manual, now: () => manual.now() + offset, monotonic: manual.now }
  const jobs = createMemoryJobs({ clock, onNotice() {}, onError() {} })
  t.after(() => jobs.close())
  const attempts: number[] = []
  let ticks = 0
  jobs.define('bad', async ({ attempt }) => {
    attempts.push(attempt)
    if (attempt === 1) throw new Error('no')
  })
  jobs.define('tick', async () => void ticks++)
  await jobs.every('tick', 60_000)
  await jobs.start()
  await jobs.enqueue('bad', {})
  await turns()
  offset = -3_600_000
  await jobs.enqueue('tick', {})
  await turns()
  t.equal(ticks, 1)
  for (let second = 0; second < 182; second++) {
    manual.advance(1000)
    await turns()
  }
  t.equal(ticks, 4)
  t.same(attempts, [1, 2], 'the retry has come')
})

await t.test('an onError that throws does not end the process', async (t) => {
  const clock = createManualClock()
  const warnings: string[] = []
  const listener = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', listener)
  t.after(() => process.off('warning', listener))
  const callbacks: unknown[] = [
    () => {
      throw new Error('the logger is closed')
    },
    async () => Promise.reject(new Error('the logger is closed')),
  ]
  for (const onError of callbacks) {
    const jobs = createMemoryJobs({ clock, onNotice() {}, onError: onError as () => void })
    jobs.define('bad', async () => Promise.reject(new Error('the work failed')), { retries: 0 })
    await jobs.start()
    const { key } = await jobs.enqueue('bad', {})
    await turns()
    t.match(await jobs.find('bad', key), { state: 'dead' })
    await jobs.close()
  }
  const both = ['the work failed', 'the logger is closed']
  t.same(warnings, [...both, ...both])
})

const never = () => new Promise<never>(() => {})

await t.test('a boss that never answers is bounded by a deadline', async (t) => {
  const clock = createManualClock()
  const methods = [
    'send',
    'deleteJob',
    'getDb',
    'complete',
    'fail',
    'cancel',
    'retry',
    'getJobById',
    'createQueue',
  ]
  const boss = Object.fromEntries([...methods, 'getQueue', 'expire'].map((name) => [name, never]))
  const errors: unknown[] = []
  const onError = (error: unknown): void => void errors.push(error)
  const jobs = createPgBossJobs(boss as never, { clock, deadlineMs: 100, onError })
  const asked = jobs.enqueue('mail', {})
  clock.advance(100)
  await t.rejects(asked, { code: 'PARAPET_KIT_JOBS_TIMEOUT', statusCode: 503 })
  t.throws(() => createPgBossJobs({} as never), { code: 'PARAPET_KIT_INVALID_ARGUMENT' })
  t.throws(() => createPgBossJobs(boss as never, { schema: 'a; drop' }), {
    code: 'PARAPET_KIT_INVALID_OPTION',
  })
  const closing = jobs.close()
  await closing
})

await t.test('a boss that does not store a job is no success', async (t) => {
  const answers = { send: null, getDb: null, getJobById: null, createQueue: null, getQueue: null }
  const boss = Object.fromEntries(
    Object.entries({ ...answers, deleteJob: null }).map(([name, value]) => [
      name,
      async () => value,
    ]),
  )
  const jobs = createPgBossJobs(boss as never, { schema: 'jobs' })
  await t.rejects(jobs.enqueue('mail', {}), { code: 'PARAPET_KIT_JOBS_FAILED', statusCode: 503 })
  await jobs.close()
})

await t.test('kill -9 at any moment loses no job, and none runs twice at once', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool, url, schema } = postgres
  await pool.query(TABLES)
  const db = createPgBossDb(createSqlClient(pool))
  await new PgBoss({ db, schema, schedule: false, supervise: false }).start()
  const program = fileURLToPath(new URL('jobs-process.ts', import.meta.url))
  const run = async (round: string, crashAt: number): Promise<[number | null, string]> => {
    const [command, args] = plainNode([program, url, schema, round, String(crashAt)])
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    let printed = ''
    child.stdout.on('data', (data: Buffer) => void (printed += data.toString()))
    const [code] = (await once(child, 'exit')) as [number | null]
    return [code, printed]
  }
  const [code, printed] = await run('whole', 0)
  t.equal(code, 0)
  const calls = Number(printed)
  t.ok(calls > 20, `${calls} calls to the database`)
  // Before and after each call: an odd number crashes when the call has been answered.
  const points = Array.from({ length: 2 * calls }, (_, index) => index + 2)
  let killed = 0
  const step = Math.ceil(points.length / runs(4, points.length))
  for (const point of points.filter((_, index) => index % step === 0)) {
    const survivor = run(`${point}`, 0)
    const [exit] = await run(`${point}`, point)
    t.ok(exit === null || exit === 0, 'killed, unless the other one did all the work before')
    if (exit === null) killed++
    const ended = { survivor: false }
    void survivor.finally(() => {
      ended.survivor = true
    })
    // The lease of the dead instance ends; the other one takes far less than a second for a job.
    const shift = `UPDATE ${schema}.job SET started_on = started_on - interval '1 hour'`
    while (!ended.survivor) {
      await pool.query(`${shift} WHERE state = 'active' AND started_on < now() - interval '1 s'`)
      await pool.query('SELECT pg_sleep(0.1)')
    }
    t.equal((await survivor)[0], 0, `the other instance did all work after a crash at ${point}`)
  }
  t.ok(killed > 0, `${killed} instances were killed`)
  const { rows } = await pool.query(OVERLAPS)
  t.same(rows, [])
})

await t.test('instances that start at once create their queues without a deadlock', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { url, schema } = postgres
  const codes: unknown[] = []
  const start = async (): Promise<void> => {
    const pool = new Pool({ connectionString: url, max: 2 })
    const plain = createPgBossDb(createSqlClient(pool))
    const db: PgBossDb = {
      executeSql: (...statement) =>
        plain.executeSql(...statement).catch((error: { readonly code?: unknown }) => {
          codes.push(error.code)
          throw error
        }),
    }
    const boss = new PgBoss({ db, schema, supervise: false })
    const jobs = createPgBossJobs(boss, { schema })
    t.after(async () => {
      await jobs.close()
      await boss.stop({ graceful: false, wait: true })
      await pool.end()
    })
    await boss.start()
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) jobs.define(name, async () => {})
    await jobs.start()
  }
  await Promise.all(Array.from({ length: 4 }, start))
  const DUPLICATE_OBJECT = '42710'
  t.same(
    codes.filter((code) => code !== DUPLICATE_OBJECT),
    [],
    'pg-boss itself expects that another instance has created its tables',
  )
})

await t.test('a script of pg-boss that fails is rolled back', async (t) => {
  const log: string[] = []
  const db = createPgBossDb({
    query: async (text) => (log.push(text), { rows: [], rowCount: 0 }),
    transaction: (work) =>
      work({
        query: async () => ({ rows: [], rowCount: 0 }),
        script: async (text) => void log.push(`in a transaction: ${text.trim()}`),
      }),
  })
  await db.executeSql('\n BEGIN;\n SELECT 1;\n COMMIT;\n ')
  await db.executeSql('SELECT 2', [])
  t.same(log, ['in a transaction: SELECT 1;', 'SELECT 2'])
})

const number = (min: number, max: number) => fc.integer({ min, max })

const part = (min: number, max: number) =>
  fc.oneof(
    fc.constant('*'),
    number(min, max).map(String),
    number(2, 9).map((step) => `*/${step}`),
    fc
      .tuple(number(min, max), number(min, max))
      .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
    fc.tuple(number(min, max), number(min, max)).map((both) => both.join(',')),
  )

await t.test('the times of a schedule are those of cron-parser', async (t) => {
  // A day that exists in every month: others may never come.
  const day = (min: number, max: number) => part(min, max).filter((text) => !text.startsWith('*/'))
  const cron = fc.tuple(part(0, 59), part(0, 23), day(1, 28), part(1, 12), day(0, 6))
  const start = fc.integer({ min: 1_600_000_000, max: 2_000_000_000 })
  fc.assert(
    fc.property(cron, start, (fields, seconds) => {
      const text = fields.join(' ')
      const currentDate = new Date(seconds * 1000)
      const theirs = cronParser.parseExpression(text, { tz: 'UTC', currentDate }).next().getTime()
      t.equal(parseSchedule(text).next(currentDate.getTime()), theirs, `${text} ${seconds}`)
    }),
    { numRuns: 200 },
  )
  // Where a field of days starts with a star, both must match, as in cron itself.
  const both = parseSchedule('0 0 1-7 * */7').next(Date.UTC(2026, 10, 26))
  t.equal(both, Date.UTC(2026, 11, 6), 'the first Sunday of December')
  const leap = parseSchedule('0 0 29 2 *').next(Date.UTC(2097, 0, 1))
  t.equal(new Date(leap).toISOString(), '2104-02-29T00:00:00.000Z')
  t.equal(parseSchedule('0 0 * * 7').next(Date.UTC(2026, 10, 26)), Date.UTC(2026, 10, 29))
  const rare = parseSchedule('0 0 29 2 */7')
  for (const [after, time] of [
    [Date.UTC(2033, 0), Date.UTC(2060, 1, 29)],
    [Date.UTC(2088, 2), Date.UTC(2128, 1, 29)],
    [Date.UTC(2026, 0), Date.UTC(2032, 1, 29)],
    [Date.UTC(2032, 1, 29) - 1, Date.UTC(2032, 1, 29)],
    [Date.UTC(2032, 1, 29), Date.UTC(2060, 1, 29)],
  ] as const) {
    t.equal(rare.next(after), time, 'a leap day that is a Sunday, in whatever order it is asked')
  }
  const code = 'PARAPET_KIT_INVALID_ARGUMENT'
  for (const text of ['', '* * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '5-1 * * * *']) {
    t.throws(() => parseSchedule(text), { code }, text)
  }
  for (const text of ['* * * * MON', '*/0 * * * *', 'x * * * *', '0 0 30 2 *', '1.5 * * * *']) {
    t.throws(() => parseSchedule(text), { code }, text)
  }
  for (const ms of [0, 999, 1000.5, NaN, Infinity]) t.throws(() => parseSchedule(ms), { code })
})
