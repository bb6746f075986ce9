import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createManualClock } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { createApp, recordsOf } from './support.ts'

const UNAVAILABLE = { code: 'PARAPET_AUDIT_LOG_UNAVAILABLE', statusCode: 503 }
const COOLDOWN_MS = 1000

async function fill(app: FastifyInstance, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
}

await t.test(
  'a record is not acknowledged on a deleted file, and the next file works',
  async (t) => {
    const clock = createManualClock()
    const app = await createApp(t, { clock, alerts: [] })
    const types: string[] = []
    app.securityEvents.on('*', ({ type }) => void types.push(type))
    await fill(app, 1)
    const spool = join(app.folder, 'spool')
    for (const name of readdirSync(spool)) {
      if (name.endsWith('.wal')) rmSync(join(spool, name))
    }
    await t.rejects(app.audit.record('thing.lost', {}), UNAVAILABLE)
    t.ok(types.includes('audit_log.spool_failed'))
    clock.advance(COOLDOWN_MS)
    await app.audit.record('thing.kept', {})
    const actions = (await recordsOf(app)).map(({ action }) => action)
    t.ok(actions.includes('thing.kept'))
    t.ok(actions.includes('audit_log.gap_recorded'), 'the refused record is declared')
  },
)

await t.test('without the folder of the spool the app is not ready', async (t) => {
  const clock = createManualClock()
  const app = await createApp(t, { clock, alerts: [] })
  let ran = 0
  app.get('/', { config: { audit: 'thing.act' } }, async () => `${++ran}`)
  await fill(app, 1)
  const { spool } = app.audit.parts
  rmSync(join(app.folder, 'spool'), { recursive: true })
  await spool.look()
  clock.advance(COOLDOWN_MS)
  t.match(await app.audit.status(), { isReady: false, problem: /spool/ })
  const refused = await app.inject('/')
  t.equal(refused.statusCode, 503)
  t.equal(refused.json<{ code: string }>().code, UNAVAILABLE.code)
  t.equal(ran, 0, 'the handler did not run')
  mkdirSync(join(app.folder, 'spool'))
  await spool.look()
  t.equal((await app.inject('/')).statusCode, 200)
  t.match(await app.audit.status(), { isReady: true })
})

await t.test('a log whose files were deleted is not continued, also after a restart', async (t) => {
  for (const what of ['log', 'log/tile', 'log/tile/entries', 'log/tile/0', 'log/state.json']) {
    const app = await createApp(t, { alerts: [] })
    const problems: string[] = []
    app.securityEvents.on('audit_log.tampering_found', ({ details }) => {
      problems.push(details.problem)
    })
    await fill(app, 300)
    rmSync(join(app.folder, what), { recursive: true })
    await app.audit.record('thing.act', {})
    await app.audit.flush().catch(() => {})
    t.match(problems, [/is missing/], what)
    t.match(await app.audit.status(), { isReady: false, halted: /is missing/ })
    await app.close()
    const again = await createApp(t, { directory: app.folder, alerts: [] }).catch(() => undefined)
    await again?.audit.flush().catch(() => {})
    t.not((await again?.audit.status())?.isReady, true, what)
  }
})

await t.test('the doctor reads entries', async (t) => {
  const app = await createApp(t, { alerts: [] })
  const entries = async () => (await app.audit.doctor()).find(({ check }) => check === 'entries')
  t.match(await entries(), undefined)
  await fill(app, 300)
  t.match(await entries(), { ok: true })
  rmSync(join(app.folder, 'log/tile/entries/000'))
  t.match(await entries(), { ok: false, detail: 'the entry 0 cannot be read' })
})
