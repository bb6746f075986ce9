import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { auditLog, grantsFor, hmac, pii } from '@parapet/audit-log'
import { createSqlClient, declarePhase } from '@parapet/kit'
import { openPglite, usePostgres } from '@parapet/testing'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { Pool } from 'pg'
import t from 'tap'
import { decodeText } from '../src/record/canonical-json.ts'
import {
  createApp,
  createKeys,
  keyOf,
  named,
  ORIGIN,
  recordsOf,
  useFolder,
  verify,
} from './support.ts'

await t.test(
  'hostile values are stored exactly in every field, and the log verifies',
  async (t) => {
    const postgres = await usePostgres(t)
    for (const sql of [undefined, postgres === null ? undefined : createSqlClient(postgres.pool)]) {
      const app = await createApp(t, sql === undefined ? {} : { sql })
      const cyclic: Record<string, unknown> = {
        big: 10n,
        when: new Date(0),
        bytes: Buffer.from('x'),
        nan: Number.NaN,
        fn: () => 1,
      }
      cyclic['self'] = cyclic
      const texts = [
        '\ud800',
        'a\u0000b',
        '"\\\r\n',
        '\u2028\u2029',
        '__proto__',
        '$utf16:AA',
        '\u202e',
        "'; drop table audit_log_events; --",
        'x'.repeat(5000),
        '{"$pii":"x"}',
      ]
      const ids: string[] = []
      for (const text of texts) {
        const { id } = await app.audit.record('thing.act', {
          principal: text,
          session: text,
          tenant: text,
          ip: text,
          userAgent: text,
          resource: text,
          resourceId: text,
          errorCode: text,
          requestId: text,
          route: text,
          data: { [text]: text, list: [text], cyclic },
          changes: { before: { [text]: 1 }, after: { [text]: text } },
        })
        ids.push(id)
      }
      const huge = await app.audit.record('thing.act', {
        changes: { before: {}, after: { text: 'ü'.repeat(2_000_000) } },
      })
      const deep = await app.audit.record('thing.act', {
        data: JSON.parse('{"a":'.repeat(5000) + '1' + '}'.repeat(5000)) as Record<string, unknown>,
      })
      await app.audit.flush()
      const records = await recordsOf(app)
      texts.forEach((text, at) => {
        const record = records.find(({ id }) => id === ids[at])!
        if (text.length <= 1024) {
          for (const name of ['principal', 'userAgent', 'resourceId', 'errorCode', 'route']) {
            t.equal(decodeText(String(record[name])), text, `${name} of text ${at}`)
          }
        }
      })
      const long = await app.audit.reveal(ids[8]!)
      t.equal(long['principal'], texts[8], 'the blob has the complete long text')
      const revealed = (await app.audit.reveal(huge.id)) as { changes: { to: string }[] }
      t.equal(revealed.changes[0]!.to.length, 2_000_000)
      t.match(JSON.stringify(records.find(({ id }) => id === deep.id)), /too deep/)
      t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
      t.equal(({} as Record<string, unknown>)['polluted'], undefined)
    }
  },
)

await t.test('any value can be recorded', async (t) => {
  const app = await createApp(t)
  const values = fc.sample(
    fc.dictionary(fc.string({ unit: 'binary' }), fc.anything({ withBigInt: true, withDate: true })),
    150,
  )
  await Promise.all(
    values.map((data) =>
      app.audit.record('thing.act', { data, changes: { before: {}, after: data } }),
    ),
  )
  const records = await recordsOf(app)
  t.equal(records.length, values.length + 1)
  t.same(named(await verify(app.audit.parts.store, app.audit.verifierKey)), [])
})

await t.test('a marked value is never stored in clear text, in files or in rows', async (t) => {
  const keys = createKeys()
  const postgres = await usePostgres(t)
  const app = await createApp(t, keys)
  const secret = 'very-personal-4711'
  await app.audit.record('user.create', {
    principal: pii(secret, { subject: secret }),
    ip: hmac(secret),
    data: {
      password: secret,
      nested: { apiKey: secret, value: pii({ x: secret }, { subject: secret }) },
    },
  })
  await app.audit.flush()
  const files = readdirSync(app.folder, { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  )
  t.ok(files.length > 5)
  for (const file of files) {
    const path = join(file.parentPath, file.name)
    t.notOk(readFileSync(path).includes(secret), path)
    t.equal(statSync(path).mode & 0o077, 0, `only the owner can read ${file.name}`)
  }
  if (postgres === null) return
  const inDatabase = await createApp(t, { ...keys, sql: createSqlClient(postgres.pool) })
  await inDatabase.audit.record('user.create', {
    principal: pii(secret, { subject: secret }),
    data: { password: secret },
  })
  await inDatabase.audit.flush()
  for (const table of ['events', 'inbox', 'values', 'subject_keys', 'blobs']) {
    const { rows } = await postgres.pool.query(`select * from audit_log_${table}`)
    t.notMatch(JSON.stringify(rows), new RegExp(secret), table)
  }
  const { id } = (await inDatabase.audit.query({ filters: { action: 'user.create' } })).entries[0]!
    .record
  t.match(await inDatabase.audit.reveal(id), {
    principal: secret,
    data: { password: '[redacted]' },
  })
})

await t.test(
  'records that arrive after an erasure do not restore the erased subject',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const keys = createKeys()
    const sql = createSqlClient(postgres.pool)
    const one = await createApp(t, { ...keys, sql })
    const key = keyOf(one)
    const two = await createApp(t, { ...keys, sql, key })
    const mark = { data: { email: pii('x@example.org', { subject: 's' }) } }
    await two.audit.record('user.create', mark)
    await two.audit.flush()
    await one.audit.erase('s')
    const late = await two.audit.record('user.update', mark)
    await two.audit.flush()
    t.match(
      await one.audit.reveal(late.id),
      { data: { email: '[erased]' } },
      'the other process still had the old key',
    )
    const report = await verify(one.audit.parts.store, one.audit.verifierKey)
    t.equal(report.exitCode, 0, JSON.stringify(report.findings))
  },
)

await t.test(
  'trustProxy: true is refused, because clients could choose the recorded address',
  async (t) => {
    for (const trustProxy of [true, false, '10.0.0.0/8', 1] as const) {
      const app: FastifyInstance = Fastify({ trustProxy } as FastifyServerOptions)
      t.after(() => app.close())
      const boot = async () => {
        await app.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
      }
      if (trustProxy === true)
        await t.rejects(boot(), { code: 'PARAPET_AUDIT_LOG_UNSAFE_PROXY', statusCode: 500 })
      else await t.resolves(boot())
    }
    const nested = Fastify({ trustProxy: true })
    t.after(() => nested.close())
    await t.rejects(
      async () => {
        await nested.register(async (child) => {
          await child.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
        })
      },
      { code: 'PARAPET_AUDIT_LOG_UNSAFE_PROXY', statusCode: 500 },
    )
  },
)

await t.test('a request to a route that was declared before the plugin is refused', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  void app.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
  let ran = 0
  app.get('/', { config: { audit: 'thing.read' } }, async () => `${++ran}`)
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 500)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_ROUTE_MISSED')
  t.equal(ran, 0, 'the handler did not run')
})

await t.test('an invalid route rule stops the boot', async (t) => {
  const app = await createApp(t, { actions: { 'thing.act': {} } })
  for (const rule of [
    5,
    null,
    {},
    { action: 'thing.act', durabilty: 'x' },
    'thing.other',
    { action: 'Thing' },
  ]) {
    t.throws(() => app.get('/x', { config: { audit: rule as never } }, async () => 'x'), {
      code: 'PARAPET_AUDIT_LOG_INVALID_RULE',
      statusCode: 500,
      message: /GET \/x/,
    })
  }
  const shared = Object.freeze({
    audit: { action: 'thing.act', durability: 'deferred', whenUnavailable: 'open' } as const,
  })
  app.get('/a', { config: shared }, async () => 'a')
  app.get('/b', { config: shared }, async () => 'b')
  t.equal((await app.inject('/a')).statusCode, 200)
  t.same(Reflect.ownKeys(shared), ['audit'])
  t.equal((await recordsOf(app)).length, 2)
})

await t.test(
  'the plugin must be registered first, and an encapsulated plugin does not affect other contexts',
  async (t) => {
    const late = Fastify()
    t.after(() => late.close())
    declarePhase(late, '@parapet/rbac', 'authorization')
    await t.rejects(
      async () => {
        await late.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
      },
      { code: 'PARAPET_KIT_WRONG_ORDER', statusCode: 500 },
    )
    const app = Fastify()
    t.after(() => app.close())
    await app.register(async (child) => {
      await child.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
      child.get('/inside', { config: { audit: 'thing.act' } }, async () => 'in')
    })
    app.get('/outside', async () => 'out')
    t.equal((await app.inject('/inside')).statusCode, 200)
    t.equal((await app.inject('/outside')).statusCode, 200)
    t.notOk(app.hasDecorator('audit'))
  },
)

await t.test('two processes cannot share a spool, and two logs cannot share a store', async (t) => {
  const app = await createApp(t)
  const again = async (options: object) => {
    const other = Fastify()
    t.after(() => other.close())
    await other.register(auditLog, { origin: ORIGIN, directory: app.folder, ...options })
  }
  await t.rejects(again({}), {
    code: 'PARAPET_AUDIT_LOG_IN_USE',
    statusCode: 500,
    message: /in use by this process/,
  })
  await app.audit.flush()
  await app.close()
  await t.rejects(again({ origin: 'other.example/audit' }), {
    code: 'PARAPET_AUDIT_LOG_ORIGIN_CHANGED',
    statusCode: 500,
    message: /contains the audit log "example.org\/audit", but the option "origin" is "other/,
  })
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const first = await createApp(t, { sql: createSqlClient(postgres.pool) })
  await first.audit.flush()
  await t.rejects(
    again({
      origin: 'other.example/audit',
      sql: createSqlClient(postgres.pool),
      directory: useFolder(t),
    }),
    { code: 'PARAPET_AUDIT_LOG_ORIGIN_CHANGED', statusCode: 500 },
  )
})

async function rolesOf(app: FastifyInstance): Promise<boolean | undefined> {
  return (await app.audit.doctor()).find(({ check }) => check === 'roles')?.ok
}

await t.test('the writer role can only insert into the inbox', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool, schema, url } = postgres
  const owner = await createApp(t, { sql: createSqlClient(pool) })
  await owner.audit.flush()
  const roles = { writer: `${schema}_w`, reader: `${schema}_r`, sequencer: `${schema}_s` }
  const names = Object.values(roles)
  for (const name of names) await pool.query(`create role ${name} login`)
  t.after(async () => {
    for (const name of names) await pool.query(`drop owned by ${name}; drop role ${name}`)
  })
  for (const name of names) await pool.query(`grant usage on schema ${schema} to ${name}`)
  await pool.query(grantsFor(roles))
  const as = (name: string) => {
    const own = new Pool({ connectionString: url.replace(/\/\/[^@/]*@/, `//${name}@`), max: 2 })
    t.after(() => own.end())
    return own
  }
  const key = keyOf(owner)
  const asWriter = as(roles.writer)
  const writer = await createApp(t, {
    sql: createSqlClient(asWriter),
    migrate: false,
    sequencer: false,
    alerts: [],
    key,
  })
  await writer.audit.record('thing.act', { resourceId: 'by the writer' })
  await writer.audit.flush()
  for (const sql of [
    'select * from audit_log_events',
    'delete from audit_log_inbox',
    'update audit_log_state set size = 0',
    'insert into audit_log_erasures values (1, 1)',
  ]) {
    await t.rejects(asWriter.query(sql), { code: '42501' }, sql)
  }
  const sequencer = await createApp(t, {
    sql: createSqlClient(as(roles.sequencer)),
    migrate: false,
    key,
  })
  await sequencer.audit.flush()
  t.same([await rolesOf(owner), await rolesOf(sequencer)], [false, true])
  const asReader = as(roles.reader)
  await t.rejects(asReader.query('delete from audit_log_events'), { code: '42501' })
  const { rows } = await asReader.query('select 1 from audit_log_events where resource_id = $1', [
    'by the writer',
  ])
  t.equal(rows.length, 1)
  t.equal((await verify(owner.audit.parts.store, owner.audit.verifierKey)).exitCode, 0)
})

/** Leaves that are no valid records, with the number of their row. */
function invalidLeaves(writer: string): [seq: number, leaf: string][] {
  const leaf = (more: object) =>
    JSON.stringify({ v: 1, id: 'x', time: 1, action: 'a.b', result: 'success', writer, ...more })
  return [
    [90, 'no json'],
    [91, '{"v":1}'],
    [92, leaf({ seq: 93 })],
    [94, leaf({ time: 'x', seq: 94 })],
    [95, leaf({ result: 'x'.repeat(70_000), seq: 95 })],
  ]
}

const valid = { v: 1, id: 'a', time: 1, action: 'a.b', result: 'success', writer: 'tx' }

const invalidMembers = [
  { principal: null },
  { principal: { $pii: 1 } },
  { tenant: 5 },
  { time: 9e15 },
  { time: -1 },
  { action: 'A B' },
  { result: 'maybe' },
  { id: '\u0000' },
  { route: [] },
]

const invalidAttachments = [
  'no json',
  'null',
  '{"keys":5}',
  '{"values":[{"record":"a"}]}',
  '{"keys":[{"id":"a","subject":"../x","sealed":"s"}]}',
  '{"blob":5}',
]

await t.test('invalid inbox rows do not enter the log, even if a writer made them', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const app = await createApp(t, { sql: createSqlClient(postgres.pool) })
  const counts: number[] = []
  app.securityEvents.on('audit_log.inbox_refused', ({ details }) => void counts.push(details.count))
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  const { writer } = app.audit.parts.spool
  const { writerKey } = app.audit.parts.keys
  const insert = (
    as: string,
    seq: number | null,
    leaf: string,
    attachments: string | null = null,
  ) =>
    postgres.pool.query(
      'insert into audit_log_inbox (writer, seq, leaf, beside, mac) values ($1, $2, $3, $4, $5)',
      [as, seq, leaf, attachments, writerKey.macOfRow({ writer: as, seq, leaf, attachments })],
    )
  const leaves = invalidLeaves(writer)
  for (const [seq, leaf] of leaves) await insert(writer, seq, leaf)
  for (const more of invalidMembers) await insert('tx', null, JSON.stringify({ ...valid, ...more }))
  for (const attachments of invalidAttachments) {
    await insert('tx', null, JSON.stringify(valid), attachments)
  }
  await app.audit.flush()
  t.same(counts, [leaves.length + invalidMembers.length + invalidAttachments.length])
  t.equal(counts[0], 20)
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  t.equal((await verify(app.audit.parts.store, app.audit.verifierKey)).exitCode, 0)
})

await t.test('PGlite stores the log like PostgreSQL', async (t) => {
  const db = await openPglite()
  t.after(() => db.close())
  const app = await createApp(t, { ...createKeys(), sql: createSqlClient(db) })
  for (let i = 0; i < 300; i++) void app.audit.record('thing.act', { resourceId: `${i}` })
  const { id } = await app.audit.record('user.create', {
    data: { email: pii('e', { subject: 's' }) },
  })
  await app.audit.flush()
  t.match(await app.audit.reveal(id), { data: { email: 'e' } })
  await app.audit.erase('s')
  await app.audit.flush()
  t.ok((await app.audit.prove(id)).proof.length > 0)
  const report = await verify(app.audit.parts.store, app.audit.verifierKey)
  t.same(named(report), [])
  t.ok(report.columns > 300)
  await app.close()
})
