import { randomBytes, randomUUID } from 'node:crypto'
import {
  blind,
  createLocalProvider,
  createMemoryKeyStore,
  createPostgresKeyStore,
  Encrypted,
  fieldEncryption,
  withPrincipal,
  type FieldEncryptionOptions,
} from '@parapet/field-encryption'
import { createManualClock, createSqlClient, migrate, type SqlClient } from '@parapet/kit'
import { runs, usePostgres } from '@parapet/testing'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { withDatabases, type MakePool } from './databases.ts'
import { code, keyset } from './fixtures.ts'

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

async function checkMigration(t: Test, sql: SqlClient): Promise<void> {
  const { service } = await build(t)
  const people = await createPeople(sql, service)
  const [a, b] = [randomUUID(), randomUUID()]
  await insert(sql, people, { id: a, email: 'a@b.c' })
  const taken = { code: '23505' }
  await t.rejects(
    insert(sql, people, { id: b, email: 'A@b.c' }),
    taken,
    'the encrypted value is unique',
  )
  const broken = { code: '23514' }
  await t.rejects(sql.query(`UPDATE people SET email = 'a@b.c'`), broken, 'plaintext')
  await t.rejects(sql.query(`UPDATE people SET email = $1`, [`pe1.${'A'.repeat(700)}`]), broken)
  await t.rejects(sql.query(`UPDATE people SET email_key_a = 'x'`), broken)
  const { text, values } = await people.where('email', 'A@B.C')
  const { rows } = await sql.query(`${SELECT} WHERE ${text}`, values)
  t.equal(rows.length, 1)
  t.match(await people.decryptRecord(rows[0]!), { email: 'a@b.c', extra: { list: ['a', 'b'] } })

  // A unique value stays unique before, while and after the rows are re-encrypted.
  const source = people.sql.rowSource(sql)
  const { previousKeyId, primaryKeyId } = await service.rotate()
  await t.rejects(
    insert(sql, people, { id: b, email: 'a@b.c' }),
    taken,
    'an old row conflicts with a new one',
  )
  await insert(sql, people, { id: b, email: 'b@b.c' })
  await t.rejects(
    insert(sql, people, { id: randomUUID(), email: 'b@b.c' }),
    taken,
    'two new rows conflict',
  )
  const before = await people.status({ source })
  t.match(before, { rows: 2, plaintext: 0, staleRows: 1, safeToDestroy: [] })
  t.equal(before.byKeyId.get(previousKeyId), 4)
  t.equal(before.byKeyId.get(primaryKeyId), 4)
  t.match(await people.reencrypt({ source }), {
    read: 2,
    rewritten: 1,
    overtaken: 0,
    failed: [],
  })
  await t.rejects(
    insert(sql, people, { id: randomUUID(), email: 'a@b.c' }),
    taken,
    'a re-encrypted row conflicts',
  )
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
  await t.rejects(sql.query(select), denied, 'the key is not kept after its transaction')
  const wrong = withPrincipal(sql, system, (tx) => tx.query(select), { fieldKey: 'wrong' })
  await t.rejects(wrong, /Wrong key/)
  const { rows } = await sql.query<{ raw: string }>(
    `SELECT encode(diagnosis, 'escape') AS raw FROM reports`,
  )
  t.notMatch(rows[0]!.raw, /flu/)

  // Functions with the same names in a schema that precedes ours in the search_path.
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
  t.after(() => sql.query('DROP SCHEMA parapet_evil CASCADE'))
  const result = await withPrincipal(
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
  t.same(result, { plain: 'cold', loot: [] }, 'no attacker function was called')
}

/** A table under row-level security, and a client of a role that the policies apply to. */
async function createDiary(t: Test, sql: SqlClient, makePool: MakePool) {
  const { service } = await build(t)
  const table = service.table(
    'diary',
    Type.Object({ id: Type.String(), note: Encrypted(Type.String()) }),
  )
  await sql.query('DROP TABLE IF EXISTS diary')
  await sql.query('CREATE TABLE diary (id text PRIMARY KEY, owner_id text NOT NULL)')
  await migrate(sql, `diary-${randomUUID()}`, [table.sql.migration({ owner: 'owner_id' })])
  const role = `parapet_test_${randomUUID().replaceAll('-', '')}`
  await sql.query(`CREATE ROLE ${role} ${makePool === null ? '' : 'LOGIN'}`)
  const { rows: where } = await sql.query<{ name: string }>('SELECT current_schema() AS name')
  await sql.query(`GRANT USAGE ON SCHEMA ${where[0]!.name} TO ${role}`)
  await sql.query(`GRANT SELECT, INSERT, UPDATE ON diary TO ${role}`)
  if (makePool === null) {
    // PGlite has one connection and one user, so it changes its role.
    const setRole = (name: string) => sql.query(`SELECT set_config('role', $1, false)`, [name])
    await setRole(role)
    t.after(() => setRole('none'))
  } else {
    t.after(async () => {
      await sql.query(`DROP OWNED BY ${role}`)
      await sql.query(`DROP ROLE ${role}`)
    })
  }
  return { service, table, asUser: makePool === null ? sql : createSqlClient(makePool(role)) }
}

const [ann, bob] = ['ann', 'bob'].map((id) => ({ id, roles: ['user'] }))
const admin = { id: 'root', roles: ['user', 'admin'] }

function writeAs(sql: SqlClient, who: typeof admin, id: string, owner: string) {
  return withPrincipal(sql, who, (tx) => tx.query('INSERT INTO diary VALUES ($1, $2)', [id, owner]))
}

async function listAs(sql: SqlClient, who: typeof admin | null): Promise<string[]> {
  const { rows } = await withPrincipal(sql, who, (tx) =>
    tx.query<{ id: string }>('SELECT id FROM diary ORDER BY id'),
  )
  return rows.map(({ id }) => id)
}

async function checkRowSecurity(t: Test, sql: SqlClient, makePool: MakePool): Promise<void> {
  const { table, asUser } = await createDiary(t, sql, makePool)
  await writeAs(asUser, ann!, 'a', 'ann')
  await writeAs(asUser, bob!, 'b', 'bob')
  t.same(await listAs(asUser, ann!), ['a'], 'user A does not see the row of user B')
  t.same(await listAs(asUser, bob!), ['b'])
  t.same(await listAs(asUser, admin), ['a', 'b'], 'an admin sees both')
  t.same(await listAs(asUser, null), [])
  const denied = { code: '42501' }
  await t.rejects(writeAs(asUser, ann!, 'x', 'bob'), denied, 'user A cannot write for user B')
  const stolen = await withPrincipal(asUser, ann!, (tx) =>
    tx.query(`UPDATE diary SET owner_id = 'ann' WHERE id = 'b' RETURNING 1`),
  )
  t.equal(stolen.rows.length, 0)
  const select = () => asUser.query('SELECT id FROM diary')
  t.same((await select()).rows, [], 'the connection keeps no settings')
  let ran = 0
  await t.rejects(
    withPrincipal(asUser, { id: 'eve', roles: ['x,admin'] }, async () => void ran++),
    code('INVALID_ARGUMENT'),
    'a role with a comma is refused',
  )
  t.equal(ran, 0, 'the work did not run')
  await t.rejects(
    withPrincipal(asUser, admin, async () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  t.same(await listAs(asUser, null), [], 'nor after the work failed')
  const abort = withPrincipal(asUser, admin, (tx) => tx.query('SELECT 1/0'))
  await t.rejects(abort, { code: '22012' })
  t.same((await select()).rows, [], 'nor after the server aborted the transaction')
  const quoted = { ...admin, id: "ann' OR '1'='1", roles: [] }
  t.same(await listAs(asUser, quoted), [])
  const argument = code('INVALID_ARGUMENT')
  const adminRole = "x' OR true --"
  t.throws(() => table.sql.migration({ owner: 'owner_id', adminRole }), argument)
  t.throws(() => table.sql.migration({ owner: 'a"b' }), argument)
}

async function checkHiddenRows(t: Test, sql: SqlClient, makePool: MakePool): Promise<void> {
  const { service, table, asUser } = await createDiary(t, sql, makePool)
  await writeAs(asUser, ann!, 'a', 'ann')
  await writeAs(asUser, bob!, 'b', 'bob')
  await withPrincipal(asUser, admin, async (tx) => {
    for (const id of ['a', 'b']) {
      const { note } = (await table.encryptRecord({ id, note: 'x' })) as { note: string }
      await tx.query('UPDATE diary SET note = $2 WHERE id = $1', [id, note])
    }
  })
  const blind = table.sql.rowSource(asUser)
  const hidden = code('INVALID_ARGUMENT')
  await t.rejects(table.status({ source: blind }), hidden)
  await t.rejects(table.reencrypt({ source: blind }), hidden)
  for (const who of [ann!, bob!, { id: 'eve', roles: ['administrator'] }]) {
    const partly = table.sql.rowSource(asUser, undefined, who)
    await t.rejects(table.status({ source: partly }), hidden, `${who.id} does not see every row`)
    await t.rejects(table.reencrypt({ source: partly }), hidden)
  }
  await service.rotate()
  const source = table.sql.rowSource(asUser, undefined, admin)
  t.match(await table.status({ source }), { rows: 2, staleRows: 2 })
  t.match(await table.reencrypt({ source }), { rewritten: 2, failed: [] })
}

await t.test(
  'the migration protects columns, uniqueness, rows and the key of pgcrypto',
  async (t) => {
    await withDatabases(t, async (t, sql, makePool) => {
      await t.test('columns accept ciphertext only, and unique values stay unique', (t) =>
        checkMigration(t, sql),
      )
      await t.test('the key of pgcrypto is valid in its transaction only', (t) =>
        checkPgcrypto(t, sql),
      )
      await t.test('user A cannot read the row of user B', (t) =>
        checkRowSecurity(t, sql, makePool),
      )
      await t.test('a table with hidden rows is neither counted nor re-encrypted', (t) =>
        checkHiddenRows(t, sql, makePool),
      )
    })
  },
)

await t.test(
  'readers and writers meet no error during a rotation, and no update is lost',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    const keyStore = createPostgresKeyStore(sql)
    const one = await build(t, { keyStore })
    const two = await build(t, { keyStore })
    const people = await createPeople(sql, one.service)
    const elsewhere = two.service.table('people', Person)
    const ids: string[] = Array.from({ length: runs(60, 500) }, () => randomUUID())
    for (const [index, id] of ids.entries())
      await insert(sql, people, { id, email: `${index}@b.c` })
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
        const progress = await people.reencrypt({ source, batchRows: 10 })
        t.same(progress.failed, [])
        rewritten += progress.rewritten
        stale = (await people.status({ source })).staleRows
      }
      t.equal(stale, 0, 'every row is re-encrypted')
      for (const { clock } of [one, two]) clock.advance(600_001)
      const { safeToDestroy } = await people.status({ source })
      t.same(safeToDestroy, [previousKeyId])
      await one.service.retire(previousKeyId)
    }
    state.running = false
    await t.resolves(Promise.all(load), 'no reader or writer failed')
    const { rows } = await sql.query(SELECT)
    for (const person of await people.decryptMany(rows)) {
      if (person.age !== 1 + written.get(person.id)!) t.fail('an update was lost')
    }
    t.comment(`${operations} reads and writes while ${rewritten} rows were re-encrypted`)
    t.ok(operations > 0)
  },
)
