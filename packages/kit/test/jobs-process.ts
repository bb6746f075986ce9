/**
 * An instance of a service with jobs, which kills itself before or after one of its calls to the database:
 * `url schema round point`, where the point is twice the number of the call, plus one for "after".
 */
import {
  createPgBossDb,
  createPgBossJobs,
  createSqlClient,
  systemClock,
  type SqlClient,
} from '@parapet/kit'
import { Pool } from 'pg'
import PgBoss from 'pg-boss'

const [url, schema, round, point] = process.argv.slice(2) as [string, string, string, string]
const KEYS = ['a', 'b', 'c']
const pool = new Pool({ connectionString: url, max: 4 })
const source = createSqlClient(pool)
let calls = 0
const counting = async <T>(call: () => Promise<T>): Promise<T> => {
  const at = 2 * ++calls
  if (at === Number(point)) process.kill(process.pid, 'SIGKILL')
  const answer = await call()
  if (at + 1 === Number(point)) process.kill(process.pid, 'SIGKILL')
  return answer
}
const sql: SqlClient = {
  query: (text, values) => counting(() => source.query(text, values)),
  transaction: (work, limits) => counting(() => source.transaction(work, limits)),
}
const boss = new PgBoss({ db: createPgBossDb(sql), schema, schedule: false, supervise: false })
boss.on('error', console.error)
await boss.start()
// Ended leases are looked for every 15 seconds, here of a faster clock.
const clock = { ...systemClock, monotonic: () => 50 * performance.now() }
const jobs = createPgBossJobs(boss, { schema, pollMs: 50, clock, onError: () => {} })
jobs.define(
  'work',
  async ({ key, attempt }) => {
    const who = [round, key, attempt]
    await sql.query(
      `INSERT INTO attempts VALUES ($1, $2, $3, ${process.pid}, clock_timestamp(), NULL)`,
      who,
    )
    await sql.query('INSERT INTO effects VALUES ($1, $2) ON CONFLICT DO NOTHING', [round, key])
    const end = `UPDATE attempts SET ended = clock_timestamp() WHERE pid = ${process.pid}`
    await sql.query(`${end} AND round = $1 AND key = $2 AND attempt = $3`, who)
  },
  { timeoutMs: 5000 },
)
await jobs.start()
const keys = KEYS.map((key) => `${round}:${key}`)
for (const key of keys) await jobs.enqueue('work', {}, { key })
for (;;) {
  const found = await Promise.all(keys.map((key) => jobs.find('work', key)))
  if (found.every((job) => job?.state === 'done')) break
  if (found.some((job) => job?.state === 'dead')) process.exit(2)
  await new Promise((resolve) => setTimeout(resolve, 20))
}
const { rows } = await source.query('SELECT key FROM effects WHERE round = $1', [round])
if (rows.length !== keys.length) process.exit(3)
console.log(calls)
process.exit(0)
