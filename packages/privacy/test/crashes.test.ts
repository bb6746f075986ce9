/** A process that is killed between any two calls of the database, while an erasure runs. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import {
  createManualClock,
  createMemoryJobs,
  createSqlClient,
  type Jobs,
  type SqlClient,
} from '@parapet/kit'
import { verifyReceipt } from '@parapet/privacy'
import { plainNode, runs, usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import {
  createErasingApp,
  createTables,
  FAILURES,
  fillTables,
  NOW,
  sourceNames,
} from './erasing-app.ts'
import { MINUTE } from './helpers.ts'

const program = fileURLToPath(new URL('erasing-process.ts', import.meta.url))
const points = runs(4, 200)

await t.test(
  `${points} processes are killed on PostgreSQL: the erasure ends complete`,
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    await createTables(sql)
    // What it takes without a kill.
    const most = Number(await eraseAndKill(t, sql, postgres.url, 0))
    t.ok(most > 60, `${most} calls`)
    for (let point = 0; point < points; point++) {
      // Spread over the whole erasure, and not the same ones in every test run.
      const at = 1 + Math.floor(((point + Math.random()) * most) / points)
      await eraseAndKill(t, sql, postgres.url, at)
    }
  },
)

/** @returns what the process has printed. */
async function eraseAndKill(t: Test, sql: SqlClient, url: string, at: number): Promise<string> {
  await fillTables(sql)
  const id = await openErasure(sql)
  const { text, signal } = await runProcess([program, url, id, String(at)])
  if (at > 0) t.equal(signal, 'SIGKILL', `killed at ${at}`)
  await finishErasure(t, sql, id, `killed at ${at}`)
  return text
}

/** The request is stored, and nothing of it is carried out. */
async function openErasure(sql: SqlClient): Promise<string> {
  const { app, close } = await open(sql)
  const { id } = await app.privacy.request({ subject: 'ann', type: 'erasure' })
  await close()
  return id
}

async function open(sql: SqlClient, time = NOW) {
  const clock = createManualClock(time)
  const jobs = createMemoryJobs({ clock, onNotice: () => undefined })
  const app = await createErasingApp({ data: sql, records: sql, clock, jobs })
  await app.ready()
  const close = async () => {
    await app.close()
    await jobs.close()
  }
  return { app, jobs, clock, close }
}

/** Another process goes on after the lease of the one that was killed. */
async function finishErasure(t: Test, sql: SqlClient, id: string, name: string): Promise<void> {
  const { app, jobs, clock, close } = await open(sql, NOW + 60 * MINUTE)
  await jobs.start()
  for (let attempt = 0; (await app.privacy.findRequest(id))!.state !== 'completed'; attempt++) {
    if (attempt > 2 * FAILURES) throw new Error(`the erasure never ended, ${name}`)
    // Nothing is under way now whose deadline the clock could pass.
    clock.advance(60 * MINUTE)
    await attemptOnce(app, jobs, id)
  }
  const { parts, receipt } = (await app.privacy.findRequest(id))!
  t.same(
    parts.map((part) => [part.name, part.status]),
    [...sourceNames, 'privacy'].map((part) => [part, 'done']),
    name,
  )
  // Killed between the failure and its record, the source has failed without an attempt that counts.
  t.ok(parts.find((part) => part.name === 'c')!.attempts >= 1, name)
  t.equal(verifyReceipt(receipt!, [app.privacy.publicKey])!.parts.length, 6, name)
  await verifyTables(t, sql, id, name)
  await close()
}

/** Runs a job, and waits for it, or for the one that works on the request already. */
async function attemptOnce(app: FastifyInstance, jobs: Jobs, id: string): Promise<void> {
  const { key } = await jobs.enqueue('privacy.run', { id })
  const isOver = async () =>
    (await jobs.find('privacy.run', key))?.state === 'done' &&
    (await app.privacy.findRequest(id))!.state !== 'running'
  while (!(await isOver())) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** Every attempt had the same plan, and the rows of another person are as they were. */
async function verifyTables(t: Test, sql: SqlClient, id: string, name: string): Promise<void> {
  const other = { subject: 'bob', email: 'bob@acme.example', note: 'n' }
  for (const source of sourceNames) {
    const text = `SELECT * FROM table_${source} ORDER BY subject`
    const erased = { subject: 'ann', email: /@erased\.invalid$/, note: null }
    t.match((await sql.query(text)).rows, [erased, other], `${name}: ${source}`)
    const keys = await sql.query<{ key: string }>('SELECT key FROM erasures WHERE name = $1', [
      source,
    ])
    // Once, or again where the process was killed before it could record that.
    t.ok(keys.rows.length === 1 || keys.rows.length === 2, `${name}: ${source}`)
    t.ok(
      keys.rows.every(({ key }) => key === id),
      `${name}: ${source}`,
    )
  }
  const { rows } = await sql.query('SELECT FROM failures')
  t.equal(rows.length, FAILURES, name)
}

function runProcess(args: readonly string[]): Promise<{ text: string; signal: string | null }> {
  const [file, rest] = plainNode(args)
  const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (_code, signal) => resolve({ text, signal }))
  })
}
