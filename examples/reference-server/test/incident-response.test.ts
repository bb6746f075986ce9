/** The data breach playbook, from the attack to the report, on the whole server. */
import {
  createManualClock,
  createMemoryJobs,
  createPgBossDb,
  createPgBossJobs,
  type Jobs,
} from '@parapet/kit'
import { join } from 'node:path'
import PgBoss from 'pg-boss'
import t, { type Test } from 'tap'
import {
  createDataFolder,
  createTestApp,
  denied,
  openDatabase,
  unauthenticated,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const HOUR = 3_600_000
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Durable jobs on the database of the test. */
async function openJobs(t: Test): Promise<Jobs> {
  const boss = new PgBoss({ db: createPgBossDb(database.sql), schedule: false, supervise: false })
  boss.on('error', () => {})
  await boss.start()
  const jobs = createPgBossJobs(boss, { pollMs: 50, onError: () => {} })
  t.after(async () => {
    await jobs.close({ drainMs: 1000 })
    await boss.stop({ graceful: false })
  })
  return jobs
}

await t.test('an export of everything is one incident, contained by its playbook', async (t) => {
  const jobs = await openJobs(t)
  const { app, ask, register } = await createTestApp(t, database, {}, { jobs })
  const chief = await register('admin')
  const thief = await register('admin')
  await app.anomaly.promote('*', { by: chief.id, mode: 'alert' })
  // The attack: a stolen session of an administrator exports the audit log again and again.
  for (let count = 0; count < 25; count++) {
    await app.inject({
      url: '/api/v1/audit/export',
      headers: thief.headers,
      remoteAddress: '198.51.100.7',
    })
  }
  await app.anomaly.settle()
  await app.incidents.settle()
  const open = await app.incidents.list({ type: 'data_breach' })
  t.equal(open.length, 1, 'one incident')
  const { id } = open[0]!
  const runOf = async () =>
    (await app.incidents.runs(id)).find(({ playbook }) => playbook === 'data_breach')
  const walk = async (isAtRest: (state: string | undefined) => boolean) => {
    for (let count = 0; count < 3000; count++) {
      const run = await runOf()
      if (isAtRest(run?.state)) return
      const waiting = run?.steps.find(
        ({ state }) => state === 'waiting' || state === 'needs_person',
      )
      if (waiting === undefined) {
        await turn()
        continue
      }
      const url = `/api/v1/incidents/${id}/runs/${run!.id}/steps/${waiting.id}`
      t.equal(
        (await ask(chief.headers, 'POST', url, { result: 'done', note: 'by hand' })).status,
        200,
      )
    }
    throw new Error('the playbook does not end')
  }
  await walk((state) => state === 'done')
  const stolen = await ask(thief.headers, 'GET', '/api/v1/audit/events')
  t.equal(stolen.status, 401, 'the stolen session has ended')
  const { body } = await ask(chief.headers, 'GET', `/api/v1/incidents/${id}`)
  t.match(body, { phase: 'lessons_learned', severity: 'critical', acknowledgedBy: null })
  const closed = await ask(chief.headers, 'POST', `/api/v1/incidents/${id}/close`, {
    resolution: 'resolved',
  })
  t.match(closed, { status: 200, body: { phase: 'closed' } })
  const report = await ask(chief.headers, 'GET', `/api/v1/incidents/${id}/report`)
  t.match(report.text, /## Timeline/)
  for (const step of ['Terminate sessions', 'Block accounts', 'Verify integrity']) {
    t.match(report.text, new RegExp(`${step}.*done`), step)
  }
  t.match(report.text, /containment → eradication/)
  await app.audit.flush()
  const { entries } = await app.audit.query({
    filters: { action: 'incident_response.*' },
    limit: 100,
  })
  t.ok(entries.length > 5, 'the audit log has the events')
})

await t.test('a lockdown needs two persons, or two kinds of incident', async (t) => {
  const { app, ask, register } = await createTestApp(t, database)
  const [ann, bob] = [await register('admin'), await register('admin')]
  const { id } = await app.incidents.report({ type: 'other', severity: 'high' })
  const isLocked = () => app.anomaly.contain.list().some(({ kind }) => kind === 'lockdown')
  /** Asks for the lockdown, and waits for its step. */
  const act = async (by: { readonly headers: Headers }, ttlMs = 60_000) => {
    const url = `/api/v1/incidents/${id}/actions`
    const body = { action: 'FULL_LOCKDOWN', with: { ttlMs } }
    const made = await ask(by.headers, 'POST', url, body)
    t.equal(made.status, 201)
    for (let count = 0; count < 3000; count++) {
      const run = (await app.incidents.runs(id)).find((each) => each.id === made.body['id'])
      if (run?.state !== 'running') return run!
      await turn()
    }
    throw new Error('the action does not end')
  }
  const asked = await act(ann)
  t.match(asked.steps, [{ state: 'done', summary: /another person/ }])
  t.match((await act(ann)).steps, [{ summary: /another person/ }], 'asking twice is one person')
  t.match((await act(bob, 90_000)).steps, [{ summary: /another person/ }], 'another lockdown')
  t.equal(isLocked(), false)
  const confirmed = await act(ann, 90_000)
  t.match(confirmed.steps, [{ state: 'done', summary: 'in force' }])
  t.equal(isLocked(), true)
  const refused = await ask({}, 'GET', '/api/v1/artists')
  t.match([refused.status, refused.code], [423, 'PARAPET_ANOMALY_GUARD_LOCKDOWN'])
  const undo = `/api/v1/incidents/${id}/runs/${confirmed.id}/undo`
  t.equal((await ask(ann.headers, 'POST', undo)).status, 200, 'operators work on during a lockdown')
  for (let count = 0; count < 3000 && isLocked(); count++) await turn()
  t.equal(isLocked(), false)
  t.match((await act(bob, 90_000)).steps, [{ summary: /another person/ }], 'it begins again')
  t.equal(isLocked(), false)
})

await t.test('nobody acknowledges: it escalates on the clock', async (t) => {
  const clock = createManualClock(Date.now())
  const jobs = createMemoryJobs({ clock, pollMs: 500, onNotice: () => {}, onError: () => {} })
  t.after(() => jobs.close({ drainMs: 0 }))
  const { app } = await createTestApp(t, database, {}, { jobs, clock })
  const { id } = await app.incidents.report({ type: 'data_breach', severity: 'critical' })
  const escalations = async () => (await app.incidents.find(id))!.escalations
  for (let count = 0; count < 200 && (await escalations()) === 0; count++) {
    clock.advance(count === 0 ? HOUR / 4 : 500)
    for (let turns = 0; turns < 20; turns++) await turn()
    await app.incidents.settle()
  }
  t.equal(await escalations(), 1)
})

await t.test('incidents are for administrators', async (t) => {
  const { ask, refuse, register } = await createTestApp(t, database)
  const { headers } = await register('editor')
  for (const url of ['/api/v1/incidents', '/api/v1/incidents/feed', '/api/v1/incidents/metrics']) {
    await refuse(t, unauthenticated, {}, 'GET', url)
    await refuse(t, denied, headers, 'GET', url)
  }
  await refuse(t, denied, headers, 'POST', '/api/v1/incidents', { type: 'x' })
  const { headers: chief } = await register('admin')
  t.match(await ask(chief, 'POST', '/api/v1/incidents', { type: 'x' }), { status: 201 })
  t.match(await ask(chief, 'GET', '/api/v1/incidents'), { body: { items: [{ type: 'x' }] } })
})

await t.test(
  'the action verify_integrity reads the whole log, and fails if it was edited',
  async (t) => {
    const jobs = await openJobs(t)
    const folder = createDataFolder(t)
    const env = { AUDIT_DIR: join(folder, 'audit') }
    const { app, register } = await createTestApp(t, database, env, { jobs })
    const { id: by } = await register('admin')
    const { id } = await app.incidents.report({ type: 'x' })
    const verify = async () => {
      const run = await app.incidents.act(id, 'verify_integrity', { n: by }, { by })
      for (;;) {
        const [step] = (await app.incidents.runs(id)).find((each) => each.id === run.id)!.steps
        if (step!.endedAt !== null || step!.state === 'needs_person') return step
        await turn()
      }
    }
    t.match(await verify(), { state: 'done', summary: /^\d+ records, \d+ checkpoints verify$/ })
    await app.audit.flush()
    await database.sql.query(
      `UPDATE audit_log_events SET leaf = replace(leaf, 'user.create', 'user.delete')`,
    )
    const failed = await verify()
    t.match(failed, { error: /the audit log does not verify: .*1/ })
    t.not(failed!.state, 'done')
  },
)
