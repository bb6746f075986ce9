/** Compares durable records with one INSERT each, a locked hash chain, pino and a bare append; and an audited request with a plain one. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { closeSync, fdatasync, mkdtempSync, openSync, rmSync, write } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { auditLog } from '@parapet/audit-log'
import { systemClock } from '@parapet/kit'
import { goal, pairedBench } from '@parapet/testing'
import Fastify from 'fastify'
import { Pool } from 'pg'
import pino from 'pino'
import { emptyState, type LogState, type LogStore } from '../src/log/log-store.ts'
import { leafHashBinary } from '../src/log/merkle-tree.ts'
import { createSigner } from '../src/log/signing-key.ts'
import { createPlan } from '../src/pipeline/integrate.ts'
import { verifyLog } from '../src/verify/verify-log.ts'

const ORIGIN = 'example.org/bench'
const folder = mkdtempSync(join(tmpdir(), 'audit-bench-'))
const url = process.env['DATABASE_URL'] ?? 'postgres://root@127.0.0.1:5432/test'
const pool = new Pool({ connectionString: url, options: '-c search_path=audit_bench', max: 16 })
await pool.query('drop schema if exists audit_bench cascade; create schema audit_bench')
await pool.query(`create table events (id bigint generated always as identity primary key, time timestamptz, principal text,
  action text, resource_id text, result text, ip text, data jsonb); create index on events (principal); create index on events (action);
  create table chain (id bigint primary key, event jsonb, hash text)`)

const EVENT = {
  principal: 'user-4711',
  session: 'session-0815',
  tenant: 'tenant-1',
  ip: '203.0.113.77',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
  resourceId: 'order-12345',
  requestId: 'req-1',
  route: 'POST /orders/:id',
  data: { amount: 1299, currency: 'EUR', items: 3 },
}

/** Records per second with `waiters` concurrent callers, each waiting for its own record. */
async function rate(
  waiters: number,
  ms: number,
  work: (n: number) => Promise<unknown>,
): Promise<number> {
  let done = 0
  const start = performance.now()
  const end = start + ms
  await Promise.all(
    Array.from({ length: waiters }, async () => {
      while (performance.now() < end) await work(done++)
    }),
  )
  return (done / (performance.now() - start)) * 1000
}

const insert = (n: number) =>
  pool.query(
    'insert into events (time, principal, action, resource_id, result, ip, data) values (now(), $1, $2, $3, $4, $5, $6)',
    [EVENT.principal, 'order.pay', `order-${n}`, 'success', EVENT.ip, JSON.stringify(EVENT)],
  )

async function chained(n: number): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock(4711)')
    const { rows } = await client.query<{ id: string; hash: string }>(
      'select id, hash from chain order by id desc limit 1',
    )
    const event = JSON.stringify({ ...EVENT, n })
    const hash = createHash('sha256')
      .update(rows[0]?.hash ?? '')
      .update(event)
      .digest('hex')
    await client.query('insert into chain values ($1, $2, $3)', [
      Number(rows[0]?.id ?? 0) + 1,
      event,
      hash,
    ])
    await client.query('commit')
  } finally {
    client.release()
  }
}

/** The minimum for durability: JSON.stringify, one write and one fdatasync for all waiting records. */
function bareAppend(): (n: number) => Promise<void> {
  const fd = openSync(join(folder, 'bare'), 'w')
  const writeAll = promisify(write)
  const sync = promisify(fdatasync)
  let waiting: { text: string; resolve: () => void }[] = []
  let busy = false
  const flush = async () => {
    busy = true
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await writeAll(fd, batch.map(({ text }) => text).join('\n'))
      await sync(fd)
      for (const { resolve } of batch) resolve()
      await new Promise((next) => setImmediate(next))
    }
    busy = false
  }
  process.once('exit', () => closeSync(fd))
  return (n) =>
    new Promise((resolve) => {
      waiting.push({ text: JSON.stringify({ ...EVENT, n }), resolve })
      if (!busy) setImmediate(() => busy || void flush())
    })
}

const app = Fastify()
await app.register(auditLog, {
  origin: ORIGIN,
  directory: join(folder, 'audit'),
  alerts: [],
  // Sequencing would share the thread with the measured code.
  sequencer: false,
  spool: { maxBytes: 8 * 1024 ** 3 },
})
const record = (n: number) => app.audit.record('order.pay', { ...EVENT, resourceId: `order-${n}` })
const logger = pino(
  pino.destination({ dest: join(folder, 'pino.log'), sync: false, minLength: 4096 }),
)
const bare = bareAppend()

const cases: Record<string, () => Promise<number>> = {
  'INSERT, 1 connection': () => rate(1, 400, insert),
  'INSERT, 16 connections': () => rate(16, 800, insert),
  'hash chain under a lock, 16 connections': () => rate(16, 800, chained),
  'bare append, 1000 waiters': () => rate(1000, 800, bare),
  'audit-log, 1 waiter': () => rate(1, 400, record),
  'audit-log, 16 waiters': () => rate(16, 400, record),
  'audit-log, 1000 waiters': () => rate(1000, 800, record),
  'pino to a file, not durable': () => rate(1000, 400, async (n) => logger.info({ ...EVENT, n })),
}
const best = new Map<string, number>()
for (let round = 0; round < 3; round++) {
  for (const [name, run] of Object.entries(cases)) {
    best.set(name, Math.max(best.get(name) ?? 0, await run()))
  }
}
console.log(`node ${process.version}, records/s, best of 3`)
for (const [name, value] of best) console.log(`  ${name.padEnd(42)} ${Math.round(value)}`)
const durable = best.get('audit-log, 1000 waiters')!
goal('audit-log-to-insert', durable / best.get('INSERT, 16 connections')!, 12, 'at-least')
goal(
  'audit-log-to-chain',
  durable / best.get('hash chain under a lock, 16 connections')!,
  50,
  'at-least',
)
goal('audit-log-to-bare', durable / best.get('bare append, 1000 waiters')!, 0.25, 'at-least')

await benchVerifier()
await benchRequest()
// Without sequencing the app is not closed: its spool is removed with the folder.
await pool.query('drop schema audit_bench cascade')
await pool.end()
rmSync(folder, { recursive: true, force: true })
process.exit(0)

/** CPU time of a verification, compared with parsing and hashing the same entries once. */
async function benchVerifier(): Promise<void> {
  const signer = await createSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
  const plan = createPlan({
    signer,
    trusted: { keys: [signer.key], acceptsLostKey: false },
    now: systemClock.now,
    onRefused: () => {},
  })
  const leaves: string[] = []
  const tiles = new Map<string, Buffer>()
  const checkpoints: { size: number; note: string }[] = []
  let state: LogState = emptyState(ORIGIN)
  for (let step = 0; step < 10; step++) {
    const inbox = Array.from({ length: 4096 }, (_, at) => {
      const seq = step * 4096 + at
      const leaf = JSON.stringify({
        action: 'order.pay',
        ...EVENT,
        id: String(seq),
        result: 'success',
        seq,
        time: seq,
        v: 1,
        writer: 'w',
      })
      return { writer: 'w', seq, leaf, attachments: null }
    })
    const done = (await plan(state, inbox, new Map([['w', step * 4096]])))!
    state = done.next
    for (const { leaf } of done.entries) leaves.push(leaf)
    for (const { level, index, hashes } of done.tiles)
      tiles.set(`${level}/${index}`, Buffer.from(hashes))
    checkpoints.push({ size: state.size, note: state.note })
  }
  const store = {
    kind: 'postgres',
    state: async () => state,
    tile: async (level: number, index: number) => tiles.get(`${level}/${index}`),
    entries: async (start: number, end: number) =>
      leaves.slice(start, end).map((leaf, at) => ({ index: start + at, leaf })),
    async *checkpoints() {
      yield* checkpoints
    },
    surplus: async () => 0,
    subjects: async () => [],
  } as unknown as LogStore
  const result = await pairedBench({
    time: 'cpu',
    rounds: 7,
    minMs: 200,
    cases: {
      'JSON.parse and SHA-256': () => {
        let kept: unknown
        for (const leaf of leaves) kept = [JSON.parse(leaf), leafHashBinary(leaf)]
        return kept
      },
      verify: async () => {
        const report = await verifyLog({ store, keys: [signer.key], now: () => 0 })
        if (report.exitCode !== 0) throw new Error('the log of the benchmark must verify')
      },
    },
  })
  console.log(`${leaves.length} entries an operation\n${result.table}`)
  goal('verify-to-parse-and-hash', result.ratio('verify', 'JSON.parse and SHA-256').median, 2)
}

/** CPU time that an audited request adds, compared with one awaited INSERT. */
async function benchRequest(): Promise<void> {
  const plain = Fastify()
  plain.post('/orders/:id', async () => 'ok')
  const inserting = Fastify()
  inserting.post<{ Params: { id: string } }>('/orders/:id', async () => {
    await insert(1)
    return 'ok'
  })
  const audited = Fastify()
  await audited.register(auditLog, {
    origin: ORIGIN,
    directory: join(folder, 'requests'),
    alerts: [],
  })
  audited.post('/orders/:id', { config: { audit: 'order.pay' } }, async () => 'ok')
  const request = { method: 'POST', url: '/orders/1' } as const
  const burst = (target: typeof plain) => () =>
    Promise.all(Array.from({ length: 32 }, () => target.inject(request)))
  const result = await pairedBench({
    time: 'cpu',
    rounds: 21,
    minMs: 100,
    cases: { plain: burst(plain), 'an awaited INSERT': burst(inserting), audited: burst(audited) },
  })
  console.log(`32 requests an operation\n${result.table}`)
  goal('request-to-insert', result.added('audited', 'an awaited INSERT', 'plain').median, 0.5)
  await audited.close()
}
