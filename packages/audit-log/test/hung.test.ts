import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import {
  createLocalCipher,
  createManualClock,
  createSqlClient,
  type ManualClock,
  type SqlClient,
} from '@parapet/kit'
import { pii } from '@parapet/audit-log'
import { usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { createApp, named, recordsOf, verify } from './support.ts'

const never = <T>() => new Promise<T>(() => {})
// The timers of the clock keep no process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

const soon = { portDeadlineMs: 3000, alerts: [] }

function eventsOf(app: FastifyInstance): string[] {
  const types: string[] = []
  app.securityEvents.on('*', ({ type }) => void types.push(type))
  return types
}

await t.test('a publisher that never answers delays no step of the log', async (t) => {
  let calls = 0
  const publishCheckpoint = () => {
    calls++
    return never<void>()
  }
  const app = await createApp(t, { ...soon, portDeadlineMs: 50, publishCheckpoint })
  const types = eventsOf(app)
  await app.audit.record('thing.act', {})
  t.equal((await recordsOf(app)).length, 2)
  t.ok(types.includes('audit_log.sink_failed'))
  t.ok(calls >= 1)
  t.equal((await app.audit.status()).isReady, true, 'the log itself works')
})

await t.test('a key service that never answers stops one instance, and no other', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const sql = createSqlClient(postgres.pool)
  const writerKey = randomBytes(32)
  let asked = 0
  const hung = {
    publicKey,
    sign: () => {
      asked++
      return never<Uint8Array>()
    },
  }
  const one = await createApp(t, { ...soon, sql, writerKey, key: hung })
  await one.audit.record('thing.act', {})
  await t.rejects(one.audit.flush(), /the signing key did not answer within 3000 ms/)
  t.ok(asked > 0)
  t.equal((await one.audit.status()).storeIsUp, true, 'the store is not at fault')
  const good = { publicKey, sign: async (bytes: Uint8Array) => sign(null, bytes, privateKey) }
  const two = await createApp(t, { ...soon, sql, writerKey, key: good })
  const records = await recordsOf(two)
  t.ok(records.some(({ action }) => action === 'thing.act'))
  t.same(named(await verify(two.audit.parts.store, two.audit.verifierKey)), [])
})

await t.test('no transaction is open while a checkpoint is signed', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  let open = 0
  const counted: SqlClient = {
    query: sql.query.bind(sql),
    transaction: (work) => {
      open++
      return sql.transaction(work).finally(() => open--)
    },
  }
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const during: number[] = []
  const key = {
    publicKey,
    sign: async (bytes: Uint8Array) => {
      during.push(open)
      return sign(null, bytes, privateKey)
    },
  }
  const app = await createApp(t, { sql: counted, key, writerKey: randomBytes(32), alerts: [] })
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  t.ok(during.length > 0)
  t.same(
    during.filter((count) => count > 0),
    [],
  )
})

await t.test(
  'a process that was stopped inside its transaction is ended by the database',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    const limits: unknown[] = []
    const watched: SqlClient = {
      query: sql.query.bind(sql),
      transaction: (work) =>
        sql.transaction(async (transaction) => {
          const result = await work(transaction)
          const { rows } = await transaction.query<{ limit: string }>(
            `select current_setting('idle_in_transaction_session_timeout') as limit`,
          )
          limits.push(rows[0]?.limit)
          return result
        }),
    }
    const app = await createApp(t, { sql: watched, migrate: true, alerts: [] })
    await app.audit.flush()
    t.ok(limits.includes('10s'), limits.join())
  },
)

await t.test('a database that never answers makes the instance not ready', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  let hangs = false
  const stuck: SqlClient = {
    query: (...args) => (hangs ? never() : sql.query(...args)),
    transaction: (work) => (hangs ? never() : sql.transaction(work)),
  }
  const app = await createApp(t, { ...soon, sql: stuck })
  await app.audit.flush()
  t.match(await app.audit.status(), { isReady: true, problem: null })
  hangs = true
  await app.audit.record('thing.act', {})
  await t.rejects(app.audit.flush(), /did not answer within 3000 ms/)
  t.match(await app.audit.status(), {
    isReady: false,
    storeIsUp: false,
    problem: /the database did not answer within 3000 ms/,
  })
  hangs = false
  // The first may wait for a call that hung before.
  await app.audit.flush().catch(() => {})
  await app.audit.flush()
  t.match(await app.audit.status(), { isReady: true, oldestUnsequencedMs: 0 })
})

await t.test(
  'a stall is reported once, with the age of the oldest record, and its end',
  async (t) => {
    const clock = createManualClock()
    const app = await createApp(t, { clock, sequencer: false, stallMs: 60_000, alerts: [] })
    const events: [string, object][] = []
    app.securityEvents.on('*', ({ type, details }) => void events.push([type, details]))
    // Without a sequencer nothing enters the log of a directory.
    const { store } = app.audit.parts
    await until(async () => (await store.oldestWaiting()) !== null, clock, 100)
    await until(() => events.length > 0, clock, 60_000)
    clock.advance(10_000)
    t.match(events, [['audit_log.stalled', { oldestUnsequencedMs: Number }]])
    const status = await app.audit.status()
    t.match(status, { isReady: false, isStalled: true })
    t.ok(status.oldestUnsequencedMs >= 60_000)
    app.audit.parts.pipeline.close().catch(() => {})
  },
)

/** Waits for what a loop does at its next run, which it may schedule only after the clock has moved. */
async function until(
  isDone: () => boolean | Promise<boolean>,
  clock: ManualClock,
  stepMs: number,
): Promise<void> {
  for (let poll = 0; !(await isDone()); poll++) {
    if (poll % 100 === 0) clock.advance(stepMs)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

await t.test('a cipher that never answers refuses the record with 503', async (t) => {
  const cipher = {
    ...createLocalCipher([{ id: 1, secret: randomBytes(32) }]),
    seal: () => never<string>(),
  }
  const app = await createApp(t, { ...soon, portDeadlineMs: 50, hashKey: randomBytes(32), cipher })
  let ran = false
  app.post('/act', async (request) => {
    await request.audit('thing.act', { principal: pii('p', { subject: 'p' }) })
    ran = true
    return 'done'
  })
  const reply = await app.inject({ method: 'POST', url: '/act' })
  t.equal(reply.statusCode, 503)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_UNAVAILABLE')
  t.equal(ran, false)
})
