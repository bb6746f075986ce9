import { randomUUID } from 'node:crypto'
import {
  blind,
  Encrypted,
  fieldEncryption,
  type PlaintextOptions,
  type ReencryptProgress,
} from '@parapet/field-encryption'
import { createManualClock, migrate, type Migration, type SqlClient } from '@parapet/kit'
import { runs } from '@parapet/testing'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { withDatabases } from './databases.ts'
import { code, keyset } from './fixtures.ts'

const User = Type.Object({
  id: Type.String(),
  emailSealed: Encrypted(Type.String({ maxLength: 100 }), {
    index: { email_idx: blind({ normalize: ['lower'] }) },
  }),
  ageSealed: Encrypted(Type.Union([Type.Integer(), Type.Null()])),
})
const columns = { emailSealed: 'email', ageSealed: 'age' }
const END = 1_800_000_000_000

async function build(t: Test, plaintext?: Partial<PlaintextOptions>) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock()
  await app.register(fieldEncryption, { keyset, clock })
  const options = plaintext === undefined ? {} : { plaintext: { columns, ...plaintext } }
  return { clock, users: app.fieldEncryption.table('users', User, options) }
}

/** A table as an app without encryption has it. */
async function createUsers(sql: SqlClient, rows: number): Promise<void> {
  await sql.query(`CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, age integer,
    visits integer NOT NULL DEFAULT 0)`)
  await sql.query(
    `INSERT INTO users (id, email, age)
       SELECT n, n || '@example.com', CASE WHEN n % 3 = 0 THEN NULL ELSE n % 90 END
       FROM generate_series(1, $1::int) n`,
    [rows],
  )
}

const SELECT = `SELECT id::text AS id, email, age, "emailSealed", "ageSealed", email_idx FROM users`

/** Runs stages in the order in which an app that restarts lists them. */
async function run(sql: SqlClient, ...stages: (readonly Migration[])[]) {
  return (await migrate(sql, 'field-encryption-users', stages.flat())).applied
}

async function writeNew(
  sql: SqlClient,
  users: Awaited<ReturnType<typeof build>>['users'],
  id: string,
  emailSealed: string,
): Promise<void> {
  const row = await users.encryptRecord({ id, emailSealed })
  await sql.query(`UPDATE users SET email = $2, "emailSealed" = $3, email_idx = $4 WHERE id = $1`, [
    id,
    row['email'],
    row['emailSealed'],
    row['email_idx'],
  ])
}

async function checkStages(t: Test, sql: SqlClient): Promise<void> {
  const rows = runs(1500, 1_000_000)
  await createUsers(sql, rows)
  const { users } = await build(t, { readUntil: new Date(END) })
  const stages = users.sql.stages()
  await run(sql, stages.prepare)
  t.same(await run(sql, stages.prepare), [], 'a second start runs nothing')

  // Both versions of the app write while rows are adopted.
  const state = { running: true, writes: 0 }
  const expected = new Map<string, string>()
  const load = (async () => {
    for (let n = 1; state.running; n = (n % rows) + 7) {
      const [older, newer] = [String(n), String(n + 1)]
      await sql.query('UPDATE users SET email = $2 WHERE id = $1', [older, `old-${n}@x`])
      expected.set(older, `old-${n}@x`)
      if (n + 1 <= rows) {
        await writeNew(sql, users, newer, `new-${n}@x`)
        expected.set(newer, `new-${n}@x`)
      }
      state.writes += 2
    }
  })()
  const source = users.sql.rowSource(sql)
  const stop = new AbortController()
  const first = users.reencrypt({
    source,
    adoptPlaintext: true,
    batchRows: 100,
    signal: stop.signal,
  })
  const seen: ReencryptProgress[] = []
  for await (const progress of first.progress) {
    seen.push(progress)
    stop.abort()
  }
  const { cursor, done, total } = await first
  t.ok(seen.length >= 1)
  t.match({ done, total }, { done: false, total: rows })
  t.match(await users.reencrypt({ source, adoptPlaintext: true, cursor }), {
    done: true,
    failed: [],
  })
  state.running = false
  await load
  // What the older version has changed since is adopted by another run.
  await users.reencrypt({ source, adoptPlaintext: true })
  t.match(await users.status({ source }), { rows, plaintext: 0, staleRows: 0 })
  t.comment(`${state.writes} writes while ${rows} rows were adopted`)

  await sql.query(`UPDATE users SET email = 'late@x' WHERE id = 5`)
  await t.rejects(run(sql, stages.prepare, stages.validate), {
    code: 'PARAPET_KIT_MIGRATION_FAILED',
  })
  await t.rejects(run(sql, stages.prepare, stages.drop), /run the stage "validate" first/)
  await users.reencrypt({ source, adoptPlaintext: true })
  expected.set('5', 'late@x')
  await run(sql, stages.prepare, stages.validate)
  const broken = { code: '23514' }
  await t.rejects(sql.query(`UPDATE users SET email = 'x@y' WHERE id = 1`), broken, 'old version')
  await t.rejects(sql.query(`UPDATE users SET "emailSealed" = 'x@y' WHERE id = 1`), broken)
  await run(sql, stages.prepare, stages.validate, stages.drop)
  const { users: after } = await build(t)
  t.equal((await run(sql, [after.sql.migration()])).length, 1, 'the usual migration then runs')
  const stored = await sql.query(SELECT.replace('email, age, ', ''))
  const read = await after.decryptMany(stored.rows)
  t.equal(read.length, rows)
  const wrong = read.filter(
    ({ id, emailSealed, ageSealed }) =>
      emailSealed !== (expected.get(id) ?? `${id}@example.com`) ||
      ageSealed !== (Number(id) % 3 === 0 ? null : Number(id) % 90),
  )
  t.same(wrong.slice(0, 3), [], 'every row has its last value')
}

async function checkReads(t: Test, sql: SqlClient): Promise<void> {
  await sql.query('DROP TABLE IF EXISTS users')
  await createUsers(sql, 4)
  const { users, clock } = await build(t, { readUntil: new Date(END) })
  await migrate(sql, 'reads', users.sql.stages().prepare)
  const rowOf = async (id: number) => (await sql.query(`${SELECT} WHERE id = ${id}`)).rows[0]!
  t.strictSame(await users.decryptRecord(await rowOf(1)), {
    id: '1',
    emailSealed: '1@example.com',
    ageSealed: 1,
  })
  t.strictSame((await users.decryptRecord(await rowOf(3))).ageSealed, null)
  t.strictSame(await users.decryptRecord(await rowOf(1), { roles: [] }), { id: '1' })
  await writeNew(sql, users, '2', 'two@x')
  t.equal((await rowOf(2))['email'], 'two@x', 'the plaintext is written for the older version')
  t.equal((await users.decryptRecord(await rowOf(2))).emailSealed, 'two@x')
  await sql.query(`UPDATE users SET visits = 1, email = email WHERE id = 2`)
  t.match((await rowOf(2))['emailSealed'], /^pe1\./, 'another change keeps the ciphertext')
  await sql.query(`UPDATE users SET email = 'older@x' WHERE id = 2`)
  t.match(await rowOf(2), { emailSealed: null, email_idx: null }, 'an outdated one is removed')
  t.equal((await users.decryptRecord(await rowOf(2))).emailSealed, 'older@x')
  const source = users.sql.rowSource(sql)
  const sealed = (await users.encryptRecord({ id: '4', emailSealed: 'x' }))['emailSealed']
  await sql.query(`UPDATE users SET email = 'pe1.hello' WHERE id = 4`)
  await sql.query(`UPDATE users SET email = $1 WHERE id = 3`, [sealed])
  const adopted = await users.reencrypt({ source, adoptPlaintext: true, cursor: '["2"]' })
  const failed = { cursor: '["3"]', code: 'PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND' }
  t.match(adopted, { rewritten: 1, failed: [failed] })
  t.match(await rowOf(4), { emailSealed: /^pe1\.[\w-]{40,}/ })
  const hello = (await users.decryptRecord(await rowOf(4))).emailSealed
  t.equal(hello, 'pe1.hello', 'a plaintext column holds plaintext, whatever it looks like')
  clock.advance(END - clock.now() - 1)
  await t.resolves(users.decryptRecord(await rowOf(1)))
  clock.advance(1)
  await t.rejects(users.decryptRecord(await rowOf(1)), code('PLAINTEXT_FOUND'), 'the end has come')
  const strict = (await build(t, {})).users
  await t.rejects(strict.decryptRecord(await rowOf(1)), code('PLAINTEXT_FOUND'), 'without an end')
  const single = (await build(t, { dualWrite: false })).users
  t.notOk('email' in (await single.encryptRecord({ id: '1', emailSealed: 'x' })))
}

async function checkInPlace(t: Test, sql: SqlClient): Promise<void> {
  const Note = Type.Object({ id: Type.String(), text: Encrypted(Type.String()) })
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, { keyset, clock: createManualClock() })
  const plaintext = { columns: { text: 'text' }, readUntil: new Date(END) }
  const notes = app.fieldEncryption.table('notes', Note, { plaintext })
  await sql.query('CREATE TABLE notes (id text PRIMARY KEY, text text, n integer)')
  await sql.query(`INSERT INTO notes VALUES ('1', 'plain', 1), ('2', 'too', 2)`)
  const { prepare, validate, drop } = notes.sql.stages()
  await migrate(sql, 'notes', prepare)
  await sql.query(`UPDATE notes SET n = 3 WHERE id = '1'`)
  const read = async () => notes.decryptMany((await sql.query('SELECT * FROM notes')).rows)
  t.match(await read(), [{ text: 'too' }, { text: 'plain' }])
  const broken = { code: 'PARAPET_KIT_MIGRATION_FAILED' }
  await t.rejects(migrate(sql, 'notes', [...prepare, ...validate]), broken)
  const source = notes.sql.rowSource(sql)
  t.match(await notes.reencrypt({ source }), {
    rewritten: 0,
    failed: [{ cursor: '["1"]' }, { cursor: '["2"]' }],
  })
  t.match(await notes.reencrypt({ source, adoptPlaintext: true }), { rewritten: 2, failed: [] })
  await migrate(sql, 'notes', [...prepare, ...validate, ...drop])
  await t.rejects(sql.query(`UPDATE notes SET text = 'x'`), { code: '23514' })
  t.match((await read()).map(({ text }) => text).toSorted(), ['plain', 'too'])
}

async function checkIds(t: Test, sql: SqlClient): Promise<void> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, { keyset })
  const text = Encrypted(Type.String({ maxLength: 10 }))
  const tableOf = (name: string, members: string[]) =>
    app.fieldEncryption.table(
      name,
      Type.Object({
        id: Type.String(),
        ...Object.fromEntries(members.map((each) => [each, text])),
      }),
    )
  const names = ['bees', 'ants'].map((name) => `${name}_${randomUUID().slice(0, 8)}`)
  for (const name of names) await sql.query(`CREATE TABLE ${name} (id text PRIMARY KEY)`)
  const owner = `app-${randomUUID()}`
  const step = (name: string, members: string[]) =>
    migrate(sql, owner, [tableOf(name, members).sql.migration()])
  t.equal((await step(names[0]!, ['a'])).applied.length, 1)
  t.equal((await step(names[0]!, ['a'])).applied.length, 0)
  t.equal((await step(names[1]!, ['a'])).applied.length, 1, 'a second table')
  t.equal((await step(names[0]!, ['a', 'b'])).applied.length, 1, 'another encrypted member')
  t.equal((await step(names[0]!, ['a'])).applied.length, 0, 'the older version starts again')
  await t.rejects(sql.query(`INSERT INTO ${names[0]} VALUES ('1', 'plain')`), { code: '23514' })
  await t.rejects(sql.query(`INSERT INTO ${names[0]} (id, b) VALUES ('1', 'x')`), { code: '23514' })
  const both = [...names, `aaa_${randomUUID().slice(0, 8)}`].toSorted()
  await sql.query(`CREATE TABLE ${both[0]} (id text PRIMARY KEY)`)
  const list = both.map((name) => tableOf(name, ['a']).sql.migration())
  for (const order of [list, list.toReversed()]) await migrate(sql, owner, order)
  t.equal((await migrate(sql, owner, list)).applied.length, 0, 'one list for several tables')
  t.match(
    tableOf(names[0]!, ['a']).sql.migration().id,
    /^0001_field_encryption_bees_\w+_[0-9a-f]{8}$/,
  )
}

await t.test('a table with rows is moved to encryption while two versions run', async (t) => {
  await withDatabases(t, async (t, sql) => {
    await t.test('add, write both, adopt, validate, drop', (t) => checkStages(t, sql))
    await t.test('rows that are not adopted are read until the end date', (t) => checkReads(t, sql))
    await t.test('rows are encrypted in place', (t) => checkInPlace(t, sql))
    await t.test('a second table and another member have migrations of their own', (t) =>
      checkIds(t, sql),
    )
  })
})
