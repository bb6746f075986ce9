import { createCipheriv, randomBytes, randomUUID, scryptSync } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { pgcrypto } from '@electric-sql/pglite/contrib/pgcrypto'
import { createManualClock, createSqlClient, migrate, type SqlClient } from '@parapet/kit'
import {
  blind,
  createJsonImporter,
  createLocalProvider,
  createMemoryKeyStore,
  createPostgresKeyStore,
  Encrypted,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  withPrincipal,
  type FieldEncryptionOptions,
  type ReencryptProgress,
} from '@parapet/field-encryption'
import { runs, usePostgres } from '@parapet/testing'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { Pool } from 'pg'
import t, { type Test } from 'tap'

const keyset = exportKeyset(generateKeyset())
const code = (what: string, statusCode = 500) => ({
  code: `PARAPET_FIELD_ENCRYPTION_${what}`,
  statusCode,
})

const Person = Type.Object({
  id: Type.String(),
  email: Encrypted(Type.String({ maxLength: 100 }), {
    index: { email_key: blind({ normalize: ['lower'], unique: true }) },
  }),
  age: Encrypted(Type.Integer()),
  extra: Type.Object({ list: Type.Array(Encrypted(Type.String())) }),
})

async function build(t: Test, options: Partial<FieldEncryptionOptions> = {}) {
  const app = Fastify()
  t.after(() => app.close())
  const clock = createManualClock()
  await app.register(fieldEncryption, {
    provider: createLocalProvider({ keyset }),
    keyStore: createMemoryKeyStore(),
    clock,
    ...options,
  })
  return { service: app.fieldEncryption, clock }
}

type Service = Awaited<ReturnType<typeof build>>['service']

async function createPeople(sql: SqlClient, service: Service) {
  const people = service.table('people', Person)
  await sql.query('CREATE TABLE people (id uuid PRIMARY KEY, version integer NOT NULL DEFAULT 1)')
  await migrate(sql, 'people', [people.sql.migration()])
  return people
}

type People = Awaited<ReturnType<typeof createPeople>>

async function insert(sql: SqlClient, people: People, person: { id: string; email: string }) {
  const row = await people.encryptRecord({ age: 1, extra: { list: ['a', 'b'] }, ...person })
  await sql.query(
    `INSERT INTO people (id, email, email_key_a, email_key_b, age, extra)
     VALUES ($1, $2, $3, $4, $5, $6::jsonb)`,
    [
      row['id'],
      row['email'],
      row['email_key_a'],
      row['email_key_b'],
      row['age'],
      JSON.stringify(row['extra']),
    ],
  )
}

const SELECT = `SELECT id::text AS id, version, email, email_key_a, email_key_b, age, extra FROM people`

async function last(progress: AsyncGenerator<ReencryptProgress>): Promise<ReencryptProgress> {
  let seen: ReencryptProgress | undefined
  for await (const each of progress) seen = each
  return seen!
}

/** A PostgreSQL of the server's and one in this process; the same must hold on both. */
async function withDatabases(
  t: Test,
  check: (t: Test, sql: SqlClient, makePool: ((user: string) => Pool) | null) => Promise<void>,
): Promise<void> {
  await t.test('PostgreSQL', async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const makePool = (user: string) => {
      const url = new URL(postgres.url)
      url.username = user
      const pool = new Pool({ connectionString: url.href, max: 1 })
      t.after(() => pool.end())
      return pool
    }
    await check(t, createSqlClient(postgres.pool), makePool)
  })
  await t.test('PGlite', async (t) => {
    const db = await PGlite.create({ extensions: { pgcrypto } })
    t.after(() => db.close())
    await check(t, createSqlClient(db), null)
  })
}

async function checkMigration(t: Test, sql: SqlClient): Promise<void> {
  const { service } = await build(t)
  const people = await createPeople(sql, service)
  const [a, b] = [randomUUID(), randomUUID()]
  await insert(sql, people, { id: a, email: 'a@b.c' })
  const taken = { code: '23505' }
  await t.rejects(insert(sql, people, { id: b, email: 'A@b.c' }), taken, 'unique, encrypted')
  const broken = { code: '23514' }
  await t.rejects(sql.query(`UPDATE people SET email = 'a@b.c'`), broken, 'plaintext')
  await t.rejects(sql.query(`UPDATE people SET email = $1`, [`pe1.${'A'.repeat(700)}`]), broken)
  await t.rejects(sql.query(`UPDATE people SET email_key_a = 'x'`), broken)
  const { text, values } = await people.where('email', 'A@B.C')
  const { rows } = await sql.query(`${SELECT} WHERE ${text}`, values)
  t.equal(rows.length, 1)
  t.match(await people.decryptRecord(rows[0]!), { email: 'a@b.c', extra: { list: ['a', 'b'] } })

  // A unique value stays unique while keys rotate: before, while and after rows are moved.
  const source = people.sql.rowSource(sql)
  const { previousKeyId, primaryKeyId } = await service.rotate()
  await t.rejects(insert(sql, people, { id: b, email: 'a@b.c' }), taken, 'old row, new key')
  await insert(sql, people, { id: b, email: 'b@b.c' })
  await t.rejects(insert(sql, people, { id: randomUUID(), email: 'b@b.c' }), taken, 'new, new')
  const before = await people.status({ source })
  t.match(before, { rows: 2, plaintext: 0, staleRows: 1, safeToDestroy: [] })
  t.equal(before.byKeyId.get(previousKeyId), 4)
  t.equal(before.byKeyId.get(primaryKeyId), 4)
  t.match(await last(people.reencrypt({ source })), {
    read: 2,
    rewritten: 1,
    overtaken: 0,
    failed: [],
  })
  await t.rejects(insert(sql, people, { id: randomUUID(), email: 'a@b.c' }), taken, 'moved')
  t.match(await people.status({ source }), { staleRows: 0, safeToDestroy: [] }, 'not settled')
  const found = await people.where('email', 'a@b.c')
  t.equal((await sql.query(`${SELECT} WHERE ${found.text}`, found.values)).rows.length, 1)
}

async function checkPgcrypto(t: Test, sql: SqlClient): Promise<void> {
  const { service } = await build(t)
  const table = service.table(
    'reports',
    Type.Object({ id: Type.String(), note: Encrypted(Type.String()) }),
  )
  await sql.query('CREATE TABLE reports (id text PRIMARY KEY)')
  await migrate(sql, 'reports', [table.sql.migration({ pgcrypto: ['diagnosis'] })])
  const fieldKey = randomBytes(32).toString('base64')
  const system = { id: 'system', roles: [] }
  await withPrincipal(
    sql,
    system,
    (tx) => tx.query(`INSERT INTO reports (id, diagnosis) VALUES ('1', parapet_seal('flu'))`),
    { fieldKey },
  )
  const select = 'SELECT diagnosis_plain FROM reports_decrypted'
  const read = await withPrincipal(sql, system, (tx) => tx.query(select), { fieldKey })
  t.same(read.rows, [{ diagnosis_plain: 'flu' }])
  const denied = { code: '42501' }
  await t.rejects(
    withPrincipal(sql, system, (tx) => tx.query(select)),
    denied,
    'no key',
  )
  await t.rejects(sql.query(select), denied, 'the key ended with its transaction')
  const wrong = withPrincipal(sql, system, (tx) => tx.query(select), { fieldKey: 'wrong' })
  await t.rejects(wrong, /Wrong key/)
  const { rows } = await sql.query<{ raw: string }>(
    `SELECT encode(diagnosis, 'escape') AS raw FROM reports`,
  )
  t.notMatch(rows[0]!.raw, /flu/)

  // Functions of the same names in front of ours, as somebody who may make a schema would put them.
  await sql.transaction(async (tx) => {
    await tx.script(`
      CREATE SCHEMA parapet_evil;
      CREATE TABLE parapet_evil.loot (what text);
      CREATE FUNCTION parapet_evil.take(text) RETURNS text LANGUAGE sql AS
        $$ INSERT INTO parapet_evil.loot VALUES ($1) RETURNING what $$;
      CREATE FUNCTION parapet_evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS
        $$ SELECT parapet_evil.take('setting') $$;
      CREATE FUNCTION parapet_evil.parapet_field_key() RETURNS text LANGUAGE sql AS
        $$ SELECT parapet_evil.take('key') $$;
      CREATE FUNCTION parapet_evil.pgp_sym_encrypt(text, text, text) RETURNS bytea LANGUAGE sql AS
        $$ SELECT parapet_evil.take($1 || $2)::bytea $$;
      CREATE FUNCTION parapet_evil.pgp_sym_decrypt(bytea, text) RETURNS text LANGUAGE sql AS
        $$ SELECT parapet_evil.take($2) $$;`)
  })
  t.teardown(() => sql.query('DROP SCHEMA parapet_evil CASCADE'))
  const lured = await withPrincipal(
    sql,
    system,
    async (tx) => {
      const here = 'current_schema()'
      await tx.query(
        `SELECT set_config('search_path', 'parapet_evil, ' || ${here} || ', public, pg_catalog', true)`,
      )
      const sealed = await tx.query<{ plain: string }>(
        `SELECT parapet_open(parapet_seal('cold')) AS plain`,
      )
      const loot = await tx.query('SELECT what FROM parapet_evil.loot')
      return { plain: sealed.rows[0]!.plain, loot: loot.rows }
    },
    { fieldKey },
  )
  t.same(lured, { plain: 'cold', loot: [] }, 'nothing is taken on the way')
}

async function checkRowSecurity(
  t: Test,
  sql: SqlClient,
  makePool: ((user: string) => Pool) | null,
) {
  const { service } = await build(t)
  const table = service.table(
    'diary',
    Type.Object({ id: Type.String(), note: Encrypted(Type.String()) }),
  )
  await sql.query('CREATE TABLE diary (id text PRIMARY KEY, owner_id text NOT NULL)')
  await migrate(sql, 'diary', [table.sql.migration({ owner: 'owner_id' })])
  const role = `parapet_test_${randomUUID().replaceAll('-', '')}`
  await sql.query(`CREATE ROLE ${role} ${makePool === null ? '' : 'LOGIN'}`)
  const { rows: where } = await sql.query<{ name: string }>('SELECT current_schema() AS name')
  await sql.query(`GRANT USAGE ON SCHEMA ${where[0]!.name} TO ${role}`)
  await sql.query(`GRANT SELECT, INSERT, UPDATE ON diary TO ${role}`)
  if (makePool !== null) {
    t.after(async () => {
      await sql.query(`DROP OWNED BY ${role}`)
      await sql.query(`DROP ROLE ${role}`)
    })
  }
  // In this process there is one connection and one user: it takes the role on.
  if (makePool === null) await sql.query(`SET ROLE ${role}`)
  const asUser = makePool === null ? sql : createSqlClient(makePool(role))
  const [ann, bob] = ['ann', 'bob'].map((id) => ({ id, roles: ['user'] }))
  const admin = { id: 'root', roles: ['user', 'admin'] }
  const write = (who: typeof admin, id: string, owner: string) =>
    withPrincipal(asUser, who, (tx) => tx.query('INSERT INTO diary VALUES ($1, $2)', [id, owner]))
  const seen = async (who: typeof admin | null) =>
    (
      await withPrincipal(asUser, who, (tx) =>
        tx.query<{ id: string }>('SELECT id FROM diary ORDER BY id'),
      )
    ).rows.map(({ id }) => id)
  await write(ann!, 'a', 'ann')
  await write(bob!, 'b', 'bob')
  t.same(await seen(ann!), ['a'], 'A cannot read the row of B')
  t.same(await seen(bob!), ['b'])
  t.same(await seen(admin), ['a', 'b'], 'an admin can')
  t.same(await seen(null), [])
  await t.rejects(write(ann!, 'x', 'bob'), { code: '42501' }, 'nor write in the name of B')
  const stolen = await withPrincipal(asUser, ann!, (tx) =>
    tx.query(`UPDATE diary SET owner_id = 'ann' WHERE id = 'b' RETURNING 1`),
  )
  t.equal(stolen.rows.length, 0)
  t.same((await asUser.query('SELECT id FROM diary')).rows, [], 'the connection carries nothing on')
  await t.rejects(
    withPrincipal(asUser, { id: 'eve', roles: ['x,admin'] }, async () => t.fail('it ran')),
    code('INVALID_ARGUMENT'),
    'a role is one name',
  )
  await t.rejects(
    withPrincipal(asUser, admin, async () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  t.same(await seen(null), [], 'nor what failed')
  const abort = withPrincipal(asUser, admin, (tx) => tx.query('SELECT 1/0'))
  await t.rejects(abort, { code: '22012' })
  t.same((await asUser.query('SELECT id FROM diary')).rows, [], 'nor what the server aborted')

  // Whoever counts rows that are hidden from him would find every key free to go.
  await withPrincipal(asUser, admin, async (tx) => {
    for (const id of ['a', 'b']) {
      const { note } = (await table.encryptRecord({ id, note: 'x' })) as { note: string }
      await tx.query('UPDATE diary SET note = $2 WHERE id = $1', [id, note])
    }
  })
  const blind = table.sql.rowSource(asUser)
  const hidden = code('INVALID_ARGUMENT')
  await t.rejects(table.status({ source: blind }), hidden)
  await t.rejects(last(table.reencrypt({ source: blind })), hidden)
  await service.rotate()
  const source = table.sql.rowSource(asUser, undefined, admin)
  t.match(await table.status({ source }), { rows: 2, staleRows: 2 })
  t.match(await last(table.reencrypt({ source })), { rewritten: 2, failed: [] })
  const at = { id: "ann' OR '1'='1", roles: [] }
  t.same(await seen({ ...admin, ...at }), [])
  t.throws(
    () => table.sql.migration({ owner: 'owner_id', adminRole: "x' OR true --" }),
    code('INVALID_ARGUMENT'),
  )
  t.throws(() => table.sql.migration({ owner: 'a"b' }), code('INVALID_ARGUMENT'))
}

await t.test(
  'the migration guards columns, uniqueness, rows and the key of pgcrypto',
  async (t) => {
    await withDatabases(t, async (t, sql, makePool) => {
      await t.test('columns and uniqueness', (t) => checkMigration(t, sql))
      await t.test('the key of pgcrypto ends with its transaction', (t) => checkPgcrypto(t, sql))
      await t.test('user A cannot read user B’s row', (t) => checkRowSecurity(t, sql, makePool))
    })
  },
)

await t.test('rotation under load: no error, no lost update', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  const keyStore = createPostgresKeyStore(sql)
  const one = await build(t, { keyStore })
  const two = await build(t, { keyStore })
  const people = await createPeople(sql, one.service)
  const elsewhere = two.service.table('people', Person)
  const ids: string[] = Array.from({ length: runs(60, 500) }, () => randomUUID())
  for (const [index, id] of ids.entries()) await insert(sql, people, { id, email: `${index}@b.c` })
  const written = new Map<string, number>(ids.map((id) => [id, 0]))
  const state = { running: true }
  let operations = 0

  async function write(table: People, worker: number): Promise<void> {
    for (let i = worker; state.running; i += 7) {
      const id = ids[i % ids.length]!
      await sql.transaction(async (tx) => {
        const { rows } = await tx.query(`${SELECT} WHERE id = $1 FOR UPDATE`, [id])
        const person = await table.decryptRecord(rows[0]!)
        const next = await table.encryptRecord({ id, age: person.age + 1, email: person.email })
        await tx.query(
          'UPDATE people SET age = $2, email = $3, email_key_a = $4, email_key_b = $5 WHERE id = $1',
          [id, next['age'], next['email'], next['email_key_a'], next['email_key_b']],
        )
      })
      written.set(id, written.get(id)! + 1)
      operations++
    }
  }
  async function read(table: People): Promise<void> {
    while (state.running) {
      const { rows } = await sql.query(`${SELECT} ORDER BY random() LIMIT 20`)
      for (const [index, person] of (await table.decryptMany(rows)).entries()) {
        const { text, values } = await table.where('email', person.email)
        const found = await sql.query<{ id: string }>(
          `SELECT id::text AS id FROM people WHERE ${text}`,
          values,
        )
        if (found.rows[0]?.id !== rows[index]!['id']) t.fail('a row was not found by its index')
      }
      operations += rows.length
    }
  }
  const load = [write(people, 0), write(elsewhere, 3), read(people), read(elsewhere)]
  const source = people.sql.rowSource(sql)
  let rewritten = 0
  for (let round = 0; round < runs(2, 5); round++) {
    const { previousKeyId } = await (round % 2 === 0 ? one : two).service.rotate()
    let stale = Infinity
    for (let pass = 0; stale > 0 && pass < 50; pass++) {
      const progress = await last(people.reencrypt({ source, batchRows: 10 }))
      t.same(progress.failed, [])
      rewritten += progress.rewritten
      stale = (await people.status({ source })).staleRows
    }
    t.equal(stale, 0, 'every row has moved')
    for (const { clock } of [one, two]) clock.advance(600_001)
    const { safeToDestroy } = await people.status({ source })
    t.same(safeToDestroy, [previousKeyId])
    await one.service.retire(previousKeyId)
  }
  state.running = false
  await t.resolves(Promise.all(load), 'no reader and no writer met an error')
  const { rows } = await sql.query(SELECT)
  for (const person of await people.decryptMany(rows)) {
    if (person.age !== 1 + written.get(person.id)!) t.fail('an update was lost')
  }
  t.comment(`${operations} reads and writes beside ${rewritten} rows moved`)
  t.ok(operations > 0)
})

await t.test(
  're-encryption goes on where it stopped, and leaves what it cannot read',
  async (t) => {
    const { service } = await build(t)
    const Note = Type.Object({
      id: Type.String(),
      text: Encrypted(Type.String()),
      n: Encrypted(Type.Integer()),
    })
    const notes = service.table('notes', Note)
    const rows = new Map<string, Record<string, unknown>>()
    const source = {
      read: async (cursor: string | null, limit: number) =>
        [...rows.values()]
          .filter(({ id }) => cursor === null || String(id) > cursor)
          .slice(0, limit),
      cursorOf: (row: Readonly<Record<string, unknown>>) => String(row['id']),
      write: async (before: object, after: object) => {
        const { id } = before as { id: string }
        if (rows.get(id) !== before) return false
        rows.set(id, after as Record<string, unknown>)
        return true
      },
    }
    for (const id of ['a', 'b', 'c', 'd'])
      rows.set(id, await notes.encryptRecord({ id, text: id, n: 1 }))
    const { primaryKeyId } = await service.rotate()
    const first = await notes.reencrypt({ source, batchRows: 2 }).next()
    t.match(first.value, { cursor: 'b', read: 2, rewritten: 2 })
    const { cursor } = first.value as ReencryptProgress
    t.match(await last(notes.reencrypt({ source, cursor })), { cursor: 'd', read: 2, rewritten: 2 })
    t.match(await last(notes.reencrypt({ source })), { read: 4, rewritten: 0 }, 'twice is once')
    t.same([...(await notes.status({ source })).byKeyId], [[primaryKeyId, 8]])

    const next = service.table('notes', Note, { version: 2, readVersions: [1] })
    t.match(
      await last(next.reencrypt({ source })),
      { rewritten: 4 },
      'another version of the schema',
    )
    t.match(await last(next.reencrypt({ source })), { rewritten: 0 })
    await t.rejects(notes.decryptRecord(rows.get('a')!), code('OPEN_FAILED'))
    const back = service.table('notes', Note, { version: 1, readVersions: [2] })
    await last(back.reencrypt({ source }))

    const broken = { ...rows.get('b'), text: `${String(rows.get('b')!['text']).slice(0, -4)}AAAA` }
    rows.set('b', broken)
    rows.set('c', { id: 'c', text: 'still in clear', n: 7 })
    t.match(await notes.status({ source }), { plaintext: 2, staleRows: 1, safeToDestroy: [] })
    t.match(await last(notes.reencrypt({ source })), { rewritten: 0, failed: ['c'] })
    t.match(await last(notes.reencrypt({ source, adoptPlaintext: true })), {
      rewritten: 1,
      failed: [],
    })
    t.match(await notes.decryptRecord(rows.get('c')!), { text: 'still in clear', n: 7 })
    t.equal(rows.get('b'), broken, 'what cannot be read stays as it is')
    const torn = { ...rows.get('a'), text: String(rows.get('a')!['text']).slice(0, 30) }
    rows.set('a', torn)
    const adopted = await last(notes.reencrypt({ source, adoptPlaintext: true }))
    t.match(adopted, { rewritten: 0, failed: ['a'] }, 'half a ciphertext is no text')
    t.equal(rows.get('a'), torn)
  },
)

await t.test(
  'values of the JSON form of others are imported, and damaged ones are not',
  async (t) => {
    const { service } = await build(t)
    const Note = Type.Object({
      id: Type.String(),
      text: Encrypted(Type.String()),
      n: Encrypted(Type.Integer()),
    })
    const notes = service.table('notes', Note)
    const passphrase = 'an old master key'
    const seal = (plain: string) => {
      const [salt, iv] = [randomBytes(32), randomBytes(16)]
      const cipher = createCipheriv('aes-256-gcm', scryptSync(passphrase, salt, 32), iv)
      const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]).toString('hex')
      const authTag = cipher.getAuthTag().toString('hex')
      return { encrypted, authTag, iv: iv.toString('hex'), salt: salt.toString('hex') }
    }
    const old = { id: '1', text: JSON.stringify(seal('ünïcode')), n: JSON.stringify(seal('42')) }
    let row: Record<string, unknown> = old
    const source = {
      read: async (cursor: string | null) => (cursor === null ? [row] : []),
      cursorOf: () => '1',
      write: async (_: object, after: object) => {
        row = after as Record<string, unknown>
        return true
      },
    }
    const importer = createJsonImporter({ passphrase })
    t.match(await last(notes.reencrypt({ source, importer })), { rewritten: 1, failed: [] })
    t.match(row, { text: /^pe1\./, n: /^pe1\./ })
    t.match(await notes.decryptRecord(row), { text: 'ünïcode', n: 42 })
    const damaged = { ...seal('x'), authTag: '00'.repeat(16) }
    row = { id: '1', text: JSON.stringify(damaged), n: row['n'] }
    t.match(await last(notes.reencrypt({ source, importer })), { rewritten: 0, failed: ['1'] })
    await t.rejects(importer.open('{}'), code('OPEN_FAILED'))
    const odd = [
      '',
      'text',
      'null',
      '[]',
      '{"encrypted":1}',
      JSON.stringify({ ...damaged, iv: 'zz' }),
      JSON.stringify({ ...damaged, authTag: '0000' }),
    ]
    for (const text of odd) t.equal(importer.recognises(text), false, text.slice(0, 20))
    t.equal(createJsonImporter({ passphrase, encoding: 'base64' }).recognises('{}'), false)
  },
)
