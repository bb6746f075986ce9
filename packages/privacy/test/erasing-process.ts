/**
 * A program that carries out an erasure over five tables of PostgreSQL, for a test that kills it:
 * `erasing-process.ts <url> <request> <kill>`. At its nth call of the database it kills itself: with an
 * even number before the call, otherwise between the call and its answer. It prints the number of calls.
 */
import { createManualClock, createMemoryJobs, createSqlClient, type SqlClient } from '@parapet/kit'
import { Pool } from 'pg'
import { createErasingApp, NOW } from './erasing-app.ts'

const [url, request = '', kill] = process.argv.slice(2)
const killAt = Number(kill)
let calls = 0

async function step<T>(work: () => Promise<T>): Promise<T> {
  const isLast = ++calls === killAt
  if (isLast && killAt % 2 === 0) process.kill(process.pid, 'SIGKILL')
  const result = await work()
  if (isLast) process.kill(process.pid, 'SIGKILL')
  return result
}

const pool = new Pool({ connectionString: url, max: 4 })
const sql = createSqlClient(pool)
const killing: SqlClient = {
  query: (text, values) => step(() => sql.query(text, values)),
  transaction: (work, limits) =>
    step(() =>
      sql.transaction(
        (inner) =>
          work({
            query: (text, values) => step(() => inner.query(text, values)),
            script: (text) => step(() => inner.script(text)),
          }),
        limits,
      ),
    ),
}
const clock = createManualClock(NOW)
const jobs = createMemoryJobs({ clock, onNotice: () => undefined })
const app = await createErasingApp({ data: killing, records: killing, clock, jobs })
await app.ready()
await jobs.start()
// The first attempt: without a kill it ends because the source that fails has failed.
const { key } = await jobs.enqueue('privacy.run', { id: request })
while ((await jobs.find('privacy.run', key))?.state !== 'done') {
  await new Promise((resolve) => setTimeout(resolve, 2))
}
process.stdout.write(`${calls}\n`)
await app.close()
await jobs.close()
await pool.end()
