import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { parseWitnessKey } from '../src/log/cosignature.ts'
import type { LogStore } from '../src/log/log-store.ts'
import { parseVerifierKey } from '../src/log/signed-note.ts'
import { verifyLog, type VerifySettings } from '../src/verify/verify-log.ts'
import { createApp, keyOf, named, openFolder, useFolder, verify } from './support.ts'
import { startWitness, type TestWitness } from './witness-server.ts'

const HOUR_MS = 3_600_000
const inAnHour = () => Date.now() + HOUR_MS
type Options = NonNullable<Parameters<typeof createApp>[1]>

/** An app with a witness, and what its events report. */
async function lab(t: Test, options: Options = {}) {
  let app: FastifyInstance & { folder: string }
  const witness = await startWitness(t, () => app.audit.verifierKey)
  app = await createApp(t, witnessed(witness, options))
  return { app, witness, events: eventsOf(app) }
}

function witnessed({ url, key }: TestWitness, options: Options = {}): Options {
  return { alerts: [], integrateIntervalMs: 60_000, witness: { url, key }, ...options }
}

function eventsOf(app: FastifyInstance): [type: string, text: string][] {
  const events: [string, string][] = []
  app.securityEvents.on('*', ({ type, details }) => {
    if (type.startsWith('audit_log.witness')) events.push([type, String(Object.values(details)[0])])
  })
  return events
}

async function fill(app: FastifyInstance, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
}

/** What `audit-log verify --witness` does. */
function verifyWitnessed(
  store: LogStore,
  verifierKey: string,
  witness: TestWitness,
  more: Partial<VerifySettings> = {},
) {
  return verifyLog({
    store,
    keys: [parseVerifierKey(verifierKey)!],
    witnesses: [parseWitnessKey(witness.key)!],
    now: () => 0,
    ...more,
  })
}

await t.test('each checkpoint is cosigned, and the verifier requires it', async (t) => {
  const { app, witness, events } = await lab(t)
  await fill(app, 5)
  await fill(app, 300)
  t.equal(witness.known?.size, 306)
  t.same(witness.answers, [200, 200], 'with a consistency proof')
  t.equal((await app.audit.status()).cosignedSize, 306)
  const note = await app.audit.checkpoint()
  t.match(note, /\n\n\u2014 example\.org\/audit \S+\n\u2014 witness\.example\/w1 \S+\n$/)
  t.equal(await app.audit.cosigned(), note)
  const found = await verifyWitnessed(app.audit.parts.store, app.audit.verifierKey, witness)
  t.match(found, { exitCode: 0, witnesses: [{ name: 'witness.example/w1', size: 306 }] })
  t.same(events, [])
  const other = await startWitness(t, () => '')
  const refused = await verifyWitnessed(app.audit.parts.store, app.audit.verifierKey, other)
  t.match(refused, { exitCode: 1, findings: [{ kind: 'witness', detail: /no checkpoint/ }] })
})

await t.test('a log that was rewritten with its own key is refused, and only so', async (t) => {
  const { app, witness } = await lab(t)
  await fill(app, 20)
  const { verifierKey } = app.audit
  await app.close()
  const forged = await createApp(t, { key: keyOf(app), alerts: [], integrateIntervalMs: 60_000 })
  await fill(forged, 40)
  const { store } = forged.audit.parts
  const plain = await verify(store, verifierKey)
  t.same([plain.exitCode, named(plain)], [0, []], 'the signatures are real')
  const removed = await verifyWitnessed(store, verifierKey, witness)
  t.match(removed, { exitCode: 1, findings: [{ kind: 'witness' }] })
  cpSync(join(app.folder, 'log/cosigned'), join(forged.folder, 'log/cosigned'))
  const copied = await verifyWitnessed(store, verifierKey, witness)
  t.equal(copied.exitCode, 1)
  t.match(named(copied), ['history 0'])
  const foreign = readFileSync(join(app.folder, 'log/cosigned'), 'utf8').split('\n')
  writeFileSync(
    join(forged.folder, 'log/cosigned'),
    (await forged.audit.checkpoint()) + foreign.at(-2)! + '\n',
  )
  const moved = await verifyWitnessed(store, verifierKey, witness)
  t.match(moved, { exitCode: 1, findings: [{ detail: /is forged/ }, { kind: 'witness' }] })
})

await t.test('the witness refuses the rewritten log, and the app reports it', async (t) => {
  const { app, witness } = await lab(t)
  await fill(app, 20)
  const { verifierKey } = app.audit
  await app.close()
  const cosigned = witness.known
  const forged = await createApp(t, witnessed(witness, { key: keyOf(app) }))
  const events = eventsOf(forged)
  await fill(forged, 40)
  t.same(witness.answers.slice(-2), [409, 422])
  t.match(events, [['audit_log.witness_refused', /does not continue the 22 entries/]])
  t.equal(witness.known, cosigned)
  const found = await verifyWitnessed(forged.audit.parts.store, verifierKey, witness)
  t.equal(found.exitCode, 1)
  await fill(forged, 1)
  t.equal(events.length, 1, 'the same refusal is one event')
})

await t.test('a rolled back log is refused by the witness and seen by the verifier', async (t) => {
  const { app, witness } = await lab(t)
  await fill(app, 20)
  const backup = useFolder(t)
  // Locks are sockets, which a backup does not contain.
  cpSync(app.folder, backup, { recursive: true, filter: (path) => !path.includes('lock') })
  await fill(app, 20)
  const { verifierKey } = app.audit
  await app.close()
  const old = openFolder(backup)
  t.equal((await verify(old, verifierKey)).exitCode, 0, 'a copy of an old log is in order')
  const served = witness.known!.note
  const seen = await verifyWitnessed(old, verifierKey, witness, { served })
  t.match(seen, { exitCode: 1, findings: [{ kind: 'rollback', detail: /is signed for 42/ }] })
  const restored = await createApp(t, witnessed(witness, { directory: backup, key: keyOf(app) }))
  const events = eventsOf(restored)
  await fill(restored, 5)
  t.match(events, [['audit_log.witness_refused', /cosigned 42 entries.*rolled back/]])
  await fill(restored, 40)
  t.match(events[1], ['audit_log.witness_refused', /rewritten or forked/])
  const { store } = restored.audit.parts
  t.equal((await verifyWitnessed(store, verifierKey, witness)).exitCode, 0, 'they may still come')
  const late = await verifyWitnessed(store, verifierKey, witness, { time: inAnHour })
  t.match(late, { exitCode: 2, findings: [{ kind: 'unwitnessed', index: 21 }] })
})

await t.test('in PostgreSQL the cosignature is stored with the log', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  const { app, witness } = await lab(t, { sql })
  await fill(app, 5)
  await fill(app, 5)
  const { store } = app.audit.parts
  const found = await verifyWitnessed(store, app.audit.verifierKey, witness)
  t.match(found, { exitCode: 0, witnesses: [{ size: 11 }] })
  await postgres.pool.query(`delete from audit_log_events where index > 5`)
  await postgres.pool.query('update audit_log_cosigned set note = $1', ['x'])
  const cut = await verifyWitnessed(store, app.audit.verifierKey, witness)
  t.match(cut.findings.at(0), { kind: 'witness' })
  t.equal(cut.exitCode, 1)
})

await t.test('a witness that never answers delays no step of the log', async (t) => {
  const { app, witness, events } = await lab(t, { portDeadlineMs: 100 })
  witness.answer = () => 'never'
  await fill(app, 3)
  t.equal((await app.audit.status()).size, 4)
  t.match(events, [['audit_log.witness_failed', /did not answer within 100 ms/]])
  t.match(await app.audit.status(), { isReady: true, cosignedSize: 0 })
  witness.answer = undefined
  await fill(app, 1)
  t.equal(witness.known?.size, 5, 'the next attempt has the latest checkpoint cosigned')
})

await t.test('an answer that is no cosignature of this checkpoint is not stored', async (t) => {
  const { app, witness, events } = await lab(t)
  const refused: [status: number, body: string, reason: RegExp][] = [
    [200, '', /cosignature of "witness.example\/w1" is missing/],
    [200, `\u2014 witness.example/w1 ${'A'.repeat(96)}\n`, /is missing/],
    [403, '', /403: it does not trust the key/],
    [404, '', /404: it does not know the origin/],
    [409, 'many\n', /without the size/],
    [409, '99\n', /cosigned 99 entries, but the log has \d+: it was rolled back/],
    [500, '', /status 500/],
    [200, 'x'.repeat(70_000), /longer than 65536 bytes/],
  ]
  for (const [status, body, reason] of refused) {
    witness.answer = () => ({ status, body })
    await fill(app, 1)
    t.match(events.at(-1)?.[1], reason)
    t.equal(await app.audit.parts.store.cosigned(), undefined)
  }
  witness.answer = undefined
  await fill(app, 1)
  t.ok(await app.audit.cosigned())
})

await t.test('a replayed cosignature of an earlier checkpoint is refused', async (t) => {
  const { app, witness, events } = await lab(t)
  await fill(app, 1)
  const line = witness.known!.note.split('\n').at(-2)!
  witness.answer = () => ({ status: 200, body: `${line}\n` })
  await fill(app, 1)
  t.match(events, [['audit_log.witness_failed', /is forged in the answer/]])
  t.equal((await app.audit.status()).cosignedSize, 2)
})

await t.test(
  'a lost cosignature is asked for again, from the size that the witness knows',
  async (t) => {
    const { app, witness } = await lab(t)
    await fill(app, 10)
    await app.close()
    rmSync(join(app.folder, 'log/cosigned'))
    const again = await createApp(t, witnessed(witness, { directory: app.folder }))
    await fill(again, 1)
    t.same(witness.answers.slice(-2), [409, 200])
    const found = await verifyWitnessed(again.audit.parts.store, again.audit.verifierKey, witness)
    t.equal(found.exitCode, 0)
  },
)
