import type { Principal, SecurityEvent } from '@parapet/kit'
import { createLocalCipher, problemErrorHandler } from '@parapet/kit'
import {
  blind,
  contextParts,
  createKeysetCipher,
  Encrypted,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  mask,
  parseKeyset,
  type FieldEncryptionOptions,
  type TableOptions,
} from '@parapet/field-encryption'
import { Type, type TObject } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'

const keyset = exportKeyset(generateKeyset())

const User = Type.Object(
  {
    id: Type.String(),
    email: Encrypted(Type.String({ format: 'email', maxLength: 254 }), {
      reveal: ['admin', 'owner'],
      mask: { support: mask.email(), default: mask.redact() },
      index: { email_idx: blind({ normalize: ['nfkc', 'lower'] }) },
    }),
    name: Type.String(),
    age: Encrypted(Type.Integer(), { reveal: ['admin'] }),
    score: Encrypted(Type.Number()),
    active: Encrypted(Type.Boolean()),
    born: Encrypted(Type.Date()),
    balance: Encrypted(Type.BigInt()),
    settings: Encrypted(Type.Object({ theme: Type.String(), tags: Type.Array(Type.String()) })),
    maybe: Encrypted(Type.Union([Type.String(), Type.Null()])),
    phones: Type.Array(
      Type.Object({
        label: Type.String(),
        number: Encrypted(Type.String(), { reveal: ['admin'], mask: { support: mask.last(4) } }),
      }),
    ),
    address: Type.Object({ city: Type.String(), street: Encrypted(Type.String()) }),
    secret: Type.Optional(Encrypted(Type.String(), { reveal: 'never' })),
  },
  { $id: 'User' },
)

const jane = {
  id: 'u-1',
  email: 'Jane@Example.com',
  name: 'Jane',
  age: 41,
  score: -0.5,
  active: false,
  born: new Date('1984-02-29T00:00:00.000Z'),
  balance: 12_345_678_901_234_567_890n,
  settings: { theme: 'dark', tags: ['a', 'ü'] },
  maybe: null,
  phones: [
    { label: 'home', number: '+49 30 1234567' },
    { label: 'work', number: '+49 30 7654321' },
  ],
  address: { city: 'Berlin', street: 'Unter den Linden 1' },
  secret: 'JBSWY3DPEHPK3PXP',
}

async function build(t: Test, options: FieldEncryptionOptions = { keyset }) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, options)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  return { app, events }
}

async function usersOf(t: Test, options: TableOptions = {}) {
  const { app, events } = await build(t)
  return { app, events, users: app.fieldEncryption.table('users', User, options) }
}

const code = (what: string, statusCode = 500) => ({
  code: `PARAPET_FIELD_ENCRYPTION_${what}`,
  statusCode,
})
const openFailed = { ...code('OPEN_FAILED'), message: 'The encrypted value cannot be opened' }

await t.test('values of every type come back with their types, nested ones too', async (t) => {
  const { users } = await usersOf(t)
  const before = structuredClone(jane)
  const row = await users.encryptRecord(jane)
  t.strictSame(jane, before, 'what was given is left as it was')
  const { secret, ...revealed } = jane
  t.strictSame(await users.decryptRecord(row), revealed)
  t.equal(await users.decryptValue(row, 'secret'), secret)
  t.equal(await users.decryptValue(row, 'age'), 41)
  t.equal(row['name'], 'Jane')
  t.match(row['email_idx'], /^[0-9a-f]{16}$/)
  for (const column of [
    'email',
    'age',
    'score',
    'active',
    'born',
    'balance',
    'settings',
    'secret',
  ]) {
    t.match(row[column], /^pe1\.[\w-]{44,}$/, column)
  }
  t.match(row['phones'], [
    { label: 'home', number: /^pe1\./ },
    { label: 'work', number: /^pe1\./ },
  ])
  t.match(row['address'], { city: 'Berlin', street: /^pe1\./ })
  t.equal(row['maybe'], null, 'that there is nothing is no secret')
  t.notMatch(
    JSON.stringify(row, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
    /Jane@|Linden/,
  )
  const part = await users.encryptRecord({ id: 'u-1', age: 42 })
  t.strictSame(Object.keys(part), ['id', 'age'], 'a part of a record is a part of a row')
  t.strictSame(await users.decryptRecord({ ...row, ...part }), { ...revealed, age: 42 })
  t.equal(
    (await users.decryptMany(await users.encryptMany([jane, { ...jane, id: 'u-2' }]))).length,
    2,
  )
})

await t.test('a wrong type, an unknown member and a row without a name are refused', async (t) => {
  const { users } = await usersOf(t)
  const wrong: Record<string, unknown> = {
    email: 42,
    age: 1.5,
    score: Number.NaN,
    active: 'true',
    born: new Date('never'),
    balance: 5,
    settings: () => 1,
    secret: '\ud800',
    phones: 'none',
    address: ['Berlin'],
  }
  for (const [column, value] of Object.entries(wrong)) {
    const error = await t.rejects(
      users.encryptRecord({ id: 'u-1', [column]: value }),
      code('INVALID_VALUE', 400),
      column,
    )
    t.notMatch(String(error), /Berlin|never\b/)
  }
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  await t.rejects(
    users.encryptRecord({ id: 'u-1', settings: loop as never }),
    code('INVALID_VALUE', 400),
  )
  const argument = code('INVALID_ARGUMENT')
  await t.rejects(users.encryptRecord({ id: 'u-1', emial: 'a@b.c' } as never), argument)
  await t.rejects(users.encryptRecord({ email: 'a@b.c' }), argument)
  await t.rejects(users.encryptRecord({ id: '', email: 'a@b.c' }), argument)
  await t.rejects(users.decryptRecord({ email: 'pe1.x' }), argument)
  await t.rejects(users.decryptValue({ id: 'u-1' }, 'name'), argument)
})

await t.test('plaintext is never taken for ciphertext, nor the reverse', async (t) => {
  const { users, events } = await usersOf(t)
  const row = await users.encryptRecord(jane)
  await t.rejects(users.encryptRecord(row as never), code('INVALID_ARGUMENT'), 'index columns')
  await t.rejects(
    users.encryptRecord({ id: 'u-1', email: row['email'] as string }),
    code('CIPHERTEXT_FOUND', 400),
  )
  await t.rejects(users.decryptRecord({ ...row, email: 'a@b.c' }), code('PLAINTEXT_FOUND'))
  await t.rejects(users.decryptRecord({ ...row, age: 41 }), code('PLAINTEXT_FOUND'))
  t.match(events.at(-1), {
    type: 'field_encryption.denied',
    severity: 'high',
    details: { table: 'users', code: 'PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND' },
  })
  t.equal((await users.encryptRecord({ id: 'u-1', email: 'pe1.is.a.fine.text' }))['id'], 'u-1')
})

await t.test('malformed envelopes give one error and no crash', async (t) => {
  const { users } = await usersOf(t)
  const { email } = (await users.encryptRecord({ id: 'u-1', email: 'a@b.c' })) as { email: string }
  const bytes = Buffer.from(email.slice(4), 'base64url')
  const wrong = {
    truncated: email.slice(0, -4),
    empty: 'pe1.',
    extended: `${email}AAAA`,
    oversized: `pe1.${'A'.repeat(23_000_000)}`,
    'wrong version': `pe1.${Buffer.from([2, ...bytes.subarray(1)]).toString('base64url')}`,
    'wrong alphabet': `pe1.${'+/'.repeat(30)}`,
    padded: `${email}=`,
    'white space': `${email}\n`,
    'unknown key': `pe1.${Buffer.from([1, 9, 9, 9, 9, ...bytes.subarray(5)]).toString('base64url')}`,
  }
  for (const [name, value] of Object.entries(wrong)) {
    await t.rejects(users.decryptRecord({ id: 'u-1', email: value }), openFailed, name)
  }
})

const Cells = Type.Object({
  id: Type.String(),
  one: Encrypted(Type.String()),
  two: Encrypted(Type.String()),
  list: Type.Array(Type.Object({ each: Encrypted(Type.String()) })),
})

await t.test('no ciphertext opens in any other cell', async (t) => {
  const { app } = await build(t)
  const tables = ['users', 'orders', 'notes'].map((name) => app.fieldEncryption.table(name, Cells))
  const cells: { read: (sealed: unknown) => Promise<unknown>; sealed: unknown }[] = []
  for (const table of tables) {
    for (const tenant of ['acme', 'globex']) {
      for (const id of ['1', '2']) {
        const plain = { id, one: 'same', two: 'same', list: [{ each: 'same' }, { each: 'same' }] }
        const row = await table.encryptRecord(plain, { tenant })
        const read = (part: object) => table.decryptRecord({ id, ...part }, { tenant })
        cells.push({ sealed: row['one'], read: (one) => read({ one }) })
        cells.push({ sealed: row['two'], read: (two) => read({ two }) })
        const list = row['list'] as { each: unknown }[]
        for (const index of [0, 1]) {
          const swap = (each: unknown) => list.map((item, at) => (at === index ? { each } : item))
          cells.push({ sealed: list[index]!.each, read: (each) => read({ list: swap(each) }) })
        }
      }
    }
  }
  let accepted = 0
  let tried = 0
  for (const [at, { read }] of cells.entries()) {
    for (const [from, { sealed }] of cells.entries()) {
      if (at === from) {
        await read(sealed)
        continue
      }
      tried++
      await read(sealed).then(
        () => accepted++,
        (error: { code?: string }) => {
          if (error.code !== openFailed.code) t.fail(`another error: ${error.code}`)
        },
      )
    }
  }
  t.equal(cells.length, 48)
  t.equal(tried, 48 * 47)
  t.equal(accepted, 0)
})

await t.test('no bit of a stored record may change', async (t) => {
  const { users } = await usersOf(t)
  const row = await users.encryptRecord({ id: 'u-1', email: 'a@b.c', age: 7 })
  let accepted = 0
  for (const column of ['email', 'age']) {
    const bytes = Buffer.from((row[column] as string).slice(4), 'base64url')
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      const bad = { ...row, [column]: `pe1.${flipped.toString('base64url')}` }
      await users.decryptRecord(bad).then(
        () => accepted++,
        () => {},
      )
    }
  }
  t.equal(accepted, 0)
})

await t.test("kit's cipher and a table open what the other sealed", async (t) => {
  const { users, app } = await usersOf(t)
  const context = contextParts({
    tenant: '',
    table: 'users',
    column: 'email',
    rowId: 'u-1',
    schemaVersion: '1',
  })
  const { primaryKeyId, keys } = parseKeyset(keyset)
  const kit = createLocalCipher([{ id: primaryKeyId, secret: keys[0]!.secret!.export() }])
  const row = await users.encryptRecord({ id: 'u-1', email: 'a@b.c' })
  t.equal((await kit.open(row['email'] as string, context)).toString(), 'a@b.c')
  const sealed = await kit.seal('b@c.d', context)
  t.equal((await users.decryptRecord({ id: 'u-1', email: sealed })).email, 'b@c.d')
  for (const cipher of [app.fieldEncryption.cipher(), createKeysetCipher(keyset)]) {
    t.equal((await cipher.open(sealed, context)).toString(), 'b@c.d')
    t.equal((await kit.open(await cipher.seal('x', context), context)).toString(), 'x')
  }
})

await t.test('rows are named by several members, by numbers, by their own tenant', async (t) => {
  const { app } = await build(t)
  const shape = Type.Object({
    org: Type.String(),
    no: Type.Integer(),
    note: Encrypted(Type.String()),
  })
  const table = app.fieldEncryption.table('notes', shape, { id: ['org', 'no'], tenant: 'org' })
  const row = await table.encryptRecord({ org: 'acme', no: 1, note: 'x' })
  t.equal((await table.decryptRecord({ ...row, no: 1n })).note, 'x', 'drivers differ')
  t.equal((await table.decryptRecord({ ...row, no: '1' })).note, 'x')
  await t.rejects(table.decryptRecord({ ...row, no: 2 }), openFailed)
  await t.rejects(table.decryptRecord({ ...row, org: 'globex' }), openFailed)
  await t.rejects(table.decryptRecord(row, { tenant: 'globex' }), code('INVALID_ARGUMENT'))
  await t.rejects(table.encryptRecord({ no: 1, note: 'x' }), code('INVALID_ARGUMENT'))
  await t.rejects(
    table.encryptRecord({ org: 'acme', no: 1.5, note: 'x' }),
    code('INVALID_ARGUMENT'),
  )
})

await t.test('an older schema version is read where it is named, and no other', async (t) => {
  const { app } = await build(t)
  const shape = Type.Object({ id: Type.String(), note: Encrypted(Type.String()) })
  const tableOf = (options: TableOptions) => app.fieldEncryption.table('notes', shape, options)
  const row = await tableOf({}).encryptRecord({ id: '1', note: 'x' })
  await t.rejects(tableOf({ version: 2 }).decryptRecord(row), openFailed)
  const next = tableOf({ version: 2, readVersions: [1] })
  t.equal((await next.decryptRecord(row)).note, 'x')
  await t.rejects(
    tableOf({}).decryptRecord(await next.encryptRecord({ id: '1', note: 'x' })),
    openFailed,
  )
})

await t.test('padding hides the length, and may be switched on and off', async (t) => {
  const { app } = await build(t)
  const plain = Type.Object({ id: Type.String(), note: Encrypted(Type.String({ maxLength: 20 })) })
  const padded = Type.Object({
    id: Type.String(),
    note: Encrypted(Type.String({ maxLength: 20 }), { padBytes: 64 }),
  })
  const off = app.fieldEncryption.table('notes', plain)
  const on = app.fieldEncryption.table('notes', padded)
  const lengths = new Set<number>()
  for (const note of ['', 'a', 'ü'.repeat(20), '\u0080\u0000', 'x'.repeat(63)]) {
    const row = await on.encryptRecord({ id: '1', note })
    lengths.add((row['note'] as string).length)
    t.equal((await on.decryptRecord(row)).note, note)
    t.equal((await off.decryptRecord(row)).note, note)
    t.equal((await on.decryptRecord(await off.encryptRecord({ id: '1', note }))).note, note)
  }
  t.equal(lengths.size, 1)
  const [length] = lengths
  t.equal(on.ciphertextLength('note', 63), length)
  const longest = await off.encryptRecord({ id: '1', note: '\u{1f600}'.repeat(20) })
  t.equal(off.ciphertextLength('note'), (longest['note'] as string).length)
  t.throws(() => off.ciphertextLength('id'), code('INVALID_ARGUMENT'))
})

await t.test('an index finds what is equal, within its own column, tenant and table', async (t) => {
  const { users, app } = await usersOf(t)
  const row = await users.encryptRecord(jane)
  const { text, values } = await users.where('email', ' JANE@example.com'.trim())
  t.equal(text, '("email_idx" = ANY($1))')
  t.same(values, [[row['email_idx']]])
  const others = [
    await users.where('email', 'john@example.com'),
    await users.where('email', 'jane@example.com', { tenant: 'acme' }),
    await app.fieldEncryption.table('people', User).where('email', 'jane@example.com'),
  ]
  for (const other of others) t.notMatch(other.values[0], [row['email_idx']])
  t.equal((await users.where('email', 'x', { firstParameter: 3 })).text, '("email_idx" = ANY($3))')
  for (const column of ['age', 'name', 'nothing', 'phones']) {
    await t.rejects(users.where(column, 'x'), code('NOT_INDEXED'), column)
  }
  await t.rejects(users.where('email', 'x', { index: 'other' }), code('NOT_INDEXED'))
  await t.rejects(users.where('email', 42), code('INVALID_ARGUMENT'))
  const emptied = await users.encryptRecord({ id: 'u-1', email: null as never })
  t.same(emptied, { id: 'u-1', email: null, email_idx: null })
})

await t.test('an index has as many bits as it says, and normalises as it says', async (t) => {
  const { app } = await build(t)
  const shape = Type.Object({
    id: Type.String(),
    phone: Encrypted(Type.String(), {
      index: {
        phone_idx: blind({ normalize: ['digits'], bits: 20 }),
        phone_exact: blind({ bits: 256 }),
        phone_key: blind({ normalize: ['trim'], unique: true }),
      },
    }),
  })
  const table = app.fieldEncryption.table('phones', shape)
  const [a, b] = await table.encryptMany([
    { id: '1', phone: '+49 (30) 12' },
    { id: '2', phone: '49-30-12' },
  ])
  t.equal(a!['phone_idx'], b!['phone_idx'])
  t.match(a!['phone_idx'], /^[0-9a-f]{5}0$/, 'bits beyond the length are zero')
  t.not(a!['phone_exact'], b!['phone_exact'])
  const slots = ['phone_key_a', 'phone_key_b'].map((name) => a![name])
  t.equal(slots.filter((slot) => slot === null).length, 1, 'one key, one of the two columns')
  const { text } = await table.where('phone', '49', { index: 'phone_key' })
  t.equal(text, '("phone_key_a" = ANY($1) OR "phone_key_b" = ANY($1))')
  const argument = code('INVALID_ARGUMENT')
  t.throws(() => blind({ bits: 7 }), argument)
  t.throws(() => blind({ bits: 64, unique: true }), argument)
  t.throws(() => blind({ normalize: ['upper' as never] }), argument)
})

await t.test(
  'roles reveal, mask or withhold; without roles the application sees all',
  async (t) => {
    const { users } = await usersOf(t)
    const row = await users.encryptRecord(jane)
    const admin = await users.decryptRecord(row, { roles: ['admin'] })
    t.match(admin, { email: 'Jane@Example.com', age: 41, phones: [{ number: '+49 30 1234567' }] })
    const support = await users.decryptRecord(row, { roles: ['support', 'staff'] })
    t.match(support, {
      email: 'J****@Example.com',
      phones: [{ label: 'home', number: '****4567' }, { number: '****4321' }],
      address: { city: 'Berlin' },
      name: 'Jane',
    })
    t.notOk('age' in support)
    t.strictSame(support.address, { city: 'Berlin' })
    t.notOk('score' in support)
    const nobody = await users.decryptRecord(row, { roles: [] })
    t.equal(nobody.email, '[redacted]')
    t.strictSame(nobody.phones, [{ label: 'home' }, { label: 'work' }])
    for (const roles of [[], ['admin'], ['owner', 'support']]) {
      t.notOk('secret' in (await users.decryptRecord(row, { roles })), 'never is never')
    }
    const tricky = await users.decryptRecord(row, {
      roles: ['constructor', '__proto__', 'default'],
    })
    t.equal(tricky.email, '[redacted]')
  },
)

await t.test('masks show what they say and leave their own output as it is', async (t) => {
  const cases: [ReturnType<typeof mask.email>, string, string][] = [
    [mask.email(), 'jane@example.com', 'j****@example.com'],
    [mask.email(), '\u{1f600}x@example.com', '\u{1f600}****@example.com'],
    [mask.email(), 'nobody', '****'],
    [mask.email(), '@example.com', '****'],
    [mask.last(4), '4242424242424242', '****4242'],
    [mask.last(4), '1234567', '****'],
    [mask.first(4), 'DE89370400440532013000', 'DE89****'],
    [mask.first(2), 'abc', '****'],
    [mask.redact(), 'x', '[redacted]'],
    [mask.redact('-'), 'x', '-'],
  ]
  for (const [each, text, shown] of cases) {
    t.equal(each(text), shown)
    t.equal(each(shown), shown, 'twice is once')
  }
  for (const count of [0, 65, 1.5]) t.throws(() => mask.last(count), code('INVALID_ARGUMENT'))
})

await t.test('a schema that cannot be kept is refused as it is declared', async (t) => {
  const { app } = await build(t)
  const E = Encrypted(Type.String())
  const schema = code('INVALID_SCHEMA')
  const broken: TObject[] = [
    Type.Object({ id: Type.String() }),
    Type.Object({ id: Type.String(), x: Type.Union([E, Type.Null()]) }),
    Type.Object({ id: Type.String(), x: Type.Tuple([E]) }),
    Type.Object({ id: Type.String(), x: Type.Record(Type.String(), E) }),
    Type.Object({ id: Type.String(), x: E, y: Type.Ref('Other') }),
    Type.Object({ id: Type.String(), 'a.b': E }),
    Type.Object({ id: Type.String(), '7': E }),
  ]
  for (const [index, each] of broken.entries()) {
    t.throws(() => app.fieldEncryption.table('x', each), schema, `case ${index}`)
  }
  t.throws(() => Encrypted(Type.Integer(), { mask: { default: mask.redact() } }), schema)
  t.throws(() => Encrypted(Type.String(), { reveal: 'never', mask: { a: mask.redact() } }), schema)
  t.throws(() => Encrypted(Type.String(), { padBytes: 1 }), schema)
  t.throws(() => Encrypted(Type.String(), { index: { 'Email Idx': blind() } }), schema)
  t.throws(() => Encrypted(Type.String(), { maks: {} } as never), schema)
  const copied = { ...Type.String(), $comment: 'parapet-encrypted:999999' }
  const alien = Type.Object({ id: Type.String(), x: copied })
  t.throws(() => app.fieldEncryption.table('x', alien), schema, 'a mark of another process')
  const argument = code('INVALID_ARGUMENT')
  const note = Type.Object({ id: Encrypted(Type.String()), x: Type.String() })
  t.throws(() => app.fieldEncryption.table('x', note), argument, 'a name cannot be encrypted')
  t.throws(
    () => app.fieldEncryption.table('x', User, { subject: 'id' }),
    argument,
    'subjects need keys of their own',
  )
})

const Reply = Type.Object({
  name: Type.String(),
  email: Encrypted(Type.String(), {
    reveal: ['admin', 'owner'],
    mask: { support: mask.email(), default: mask.redact() },
  }),
  age: Type.Optional(Encrypted(Type.Integer(), { reveal: ['admin'] })),
  secret: Type.Optional(Encrypted(Type.String(), { reveal: 'never' })),
})

async function served(t: Test, principal: Principal | null, payload: unknown) {
  const { app } = await build(t, { keyset, principal: () => principal })
  app.setErrorHandler(problemErrorHandler)
  app.addSchema(Type.Object({ ...Reply.properties }, { $id: 'Reply' }))
  const answer = async () => payload
  app.get('/plain', { schema: { response: { 200: Reply } } }, answer)
  app.get('/ref', { schema: { response: { '2xx': { $ref: 'Reply#' } } } }, answer)
  app.get('/items', { schema: { response: { 200: Type.Array(Type.Ref('Reply')) } } }, async () => [
    payload,
  ])
  app.get(
    '/typed',
    { schema: { response: { 200: { content: { 'application/json': { schema: Reply } } } } } },
    answer,
  )
  app.get(
    '/own',
    {
      config: {
        fieldEncryption: {
          roles: (_, value) => ((value as { name: string }).name === 'Jane' ? ['owner'] : []),
        },
      },
      schema: { response: { 200: Reply } },
    },
    answer,
  )
  app.get('/text', { schema: { response: { 200: Reply } } }, async (_, reply) =>
    reply.type('application/json').send(JSON.stringify(payload)),
  )
  app.get('/free', async () => payload)
  return app
}

await t.test('replies are revealed, masked or withheld by the roles of whoever asks', async (t) => {
  const payload = Object.freeze({ name: 'Jane', email: 'jane@example.com', age: 41 })
  const seen = {
    admin: payload,
    support: { name: 'Jane', email: 'j****@example.com' },
    other: { name: 'Jane', email: '[redacted]' },
  }
  for (const [role, expected] of Object.entries(seen)) {
    const app = await served(t, { id: '1', roles: [role] }, payload)
    for (const url of ['/plain', '/ref', '/typed']) {
      const reply = await app.inject(url)
      t.equal(reply.statusCode, 200, url)
      t.strictSame(reply.json(), expected, `${role} ${url}`)
    }
    t.strictSame((await app.inject('/items')).json(), [expected])
  }
  const app = await served(t, null, payload)
  t.strictSame((await app.inject('/plain')).json(), seen.other, 'anonymous')
  t.strictSame((await app.inject('/own')).json(), { name: 'Jane', email: 'jane@example.com' })
})

await t.test('a text that begins like a ciphertext is read and sent as a text', async (t) => {
  const { users } = await usersOf(t)
  const email = 'pe1.is.a.fine.text'
  const row = await users.encryptRecord({ id: 'u-1', email })
  t.equal((await users.decryptRecord(row)).email, email)
  const app = await served(t, { id: '1', roles: ['admin'] }, { name: 'x', email })
  t.strictSame((await app.inject('/plain')).json(), { name: 'x', email })
})

await t.test('a payload with a form of its own for JSON is masked in that form', async (t) => {
  class Doc {
    readonly name = 'Jane'
    readonly email = 'jane@example.com'
    /** As a member of its own it would pass through every copy. */
    readonly toJSON = () => ({ name: this.name, email: this.email, age: 41 })
  }
  const app = await served(t, { id: '1', roles: ['support'] }, new Doc())
  for (const url of ['/plain', '/items']) {
    const shown = (await app.inject(url)).json<unknown>()
    t.strictSame([shown].flat(), [{ name: 'Jane', email: 'j****@example.com' }], url)
  }
})

await t.test('a column may be called as a member of every object is', async (t) => {
  const { app } = await build(t)
  const Odd = Type.Object({
    id: Type.String(),
    constructor: Type.Optional(Encrypted(Type.String())),
    toString: Type.Optional(Encrypted(Type.String(), { index: { to_string_idx: blind() } })),
  })
  const odd = app.fieldEncryption.table('odd', Odd)
  const bare = await odd.encryptRecord({ id: '1' } as never)
  t.strictSame(bare, { id: '1' }, 'what a row does not have is not encrypted')
  t.strictSame(await odd.decryptRecord(bare), { id: '1' })
  t.equal(await odd.decryptValue(bare, 'constructor'), undefined)
  const row = await odd.encryptRecord({ id: '1', constructor: 'a', toString: 'b' })
  t.match(row, { constructor: /^pe1\./, toString: /^pe1\./ })
  t.strictSame(await odd.decryptRecord(row), { id: '1', constructor: 'a', toString: 'b' })
})

await t.test('a reply that cannot be masked is refused rather than sent', async (t) => {
  const admin = { id: '1', roles: ['admin'] }
  const row = await (await usersOf(t)).users.encryptRecord({ id: 'u-1', email: 'a@b.c' })
  const refused: [url: string, payload: unknown, what: string][] = [
    ['/plain', { name: 'x', email: row['email'] }, 'NOT_DECRYPTED'],
    ['/plain', { name: 'x', email: 'a@b.c', secret: 's3cret' }, 'REVEAL_REFUSED'],
    ['/plain', ['s3cret'], 'REVEAL_REFUSED'],
    ['/text', { name: 'x', email: 's3cret@b.c' }, 'REVEAL_REFUSED'],
  ]
  for (const [url, payload, what] of refused) {
    const app = await served(t, admin, payload)
    const reply = await app.inject(url)
    t.equal(reply.statusCode, 500, url)
    t.equal(reply.json<{ code: string }>().code, `PARAPET_FIELD_ENCRYPTION_${what}`)
    t.notMatch(reply.body, /s3cret|pe1\./)
  }
})

await t.test(
  'a route that the plugin came too late for is refused, not sent unmasked',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    void app.register(fieldEncryption, { keyset })
    app.get('/late', { schema: { response: { 200: Reply } } }, async () => ({
      name: 'x',
      email: 's3cret@b.c',
    }))
    app.get('/free', async () => ({ free: true }))
    const reply = await app.inject('/late')
    t.equal(reply.statusCode, 500)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED')
    t.notMatch(reply.body, /s3cret/)
    t.equal((await app.inject('/free')).statusCode, 200)
  },
)

await t.test('a reply schema that could leave out what it requires stops the boot', async (t) => {
  const bare = Type.Object({ x: Encrypted(Type.String(), { reveal: ['admin'] }) })
  const schema = code('INVALID_SCHEMA')
  const declare = async (response: object, config: object = {}) => {
    const { app } = await build(t)
    app.get('/', { config, schema: { response } }, async () => ({}))
    await app.ready()
  }
  await t.rejects(declare({ 200: bare }), schema)
  await t.rejects(declare({ 200: Type.Object({ list: Type.Array(bare) }) }), schema)
  await t.rejects(declare({ 200: Type.Union([Reply, Type.Null()]) }), schema)
  await t.rejects(declare({ 200: Reply }, { fieldEncryption: { role: () => [] } }), schema)
  await t.rejects(declare({ 200: { $ref: 'Unknown#' } }))
  const Tree = Type.Recursive((This) => Type.Object({ kids: Type.Array(This) }))
  await t.resolves(declare({ 200: Tree }), 'what holds itself and nothing encrypted is fine')
  const Bad = Type.Recursive((This) =>
    Type.Object({ kids: Type.Array(This), x: Type.Optional(Encrypted(Type.String())) }),
  )
  await t.rejects(declare({ 200: Bad }), schema)
})

await t.test(
  'a route that takes an encrypted member is validated and documented as ever',
  async (t) => {
    const { app } = await build(t)
    const Body = Type.Object({ email: Encrypted(Type.String({ minLength: 3 })) })
    app.post('/', { schema: { body: Body } }, async (request) => request.body)
    const post = (email: string) => app.inject({ method: 'POST', url: '/', payload: { email } })
    t.equal((await post('a@b.c')).statusCode, 200)
    t.equal((await post('a')).statusCode, 400)
  },
)

await t.test(
  'decryptions are told by column and count, and sampled without losing any',
  async (t) => {
    const { users, events } = await usersOf(t)
    const row = await users.encryptRecord({ id: 'u-1', email: 'a@b.c', age: 7 })
    await users.decryptMany([row, row, row])
    t.match(events, [
      {
        type: 'field_encryption.decrypted',
        details: { table: 'users', column: 'email', count: 3 },
      },
      { type: 'field_encryption.decrypted', details: { table: 'users', column: 'age', count: 3 } },
    ])
    const sampled = await build(t, { keyset, decryptedEventRatio: 0.1 })
    const table = sampled.app.fieldEncryption.table('users', User)
    for (let i = 0; i < 100; i++) await table.decryptValue(row, 'email')
    t.equal(sampled.events.length, 10)
    t.match(sampled.events[0], { details: { count: 10 } })
    const silent = await build(t, { keyset, decryptedEventRatio: 0 })
    await silent.app.fieldEncryption.table('users', User).decryptRecord(row)
    t.same(silent.events, [])
  },
)

await t.test('an option that is unknown, missing or out of range stops the boot', async (t) => {
  const refused: readonly [object, RegExp][] = [
    [{}, /keyset: must be given, or provider/],
    [{ keysets: keyset }, /did you mean "keyset"/],
    [{ keyset, cache: { maxAge: 1000 } }, /cache\.maxAge: is unknown; did you mean "maxAgeMs"/],
    [{ keyset, deadlineMs: 1 }, /deadlineMs/],
    [{ keyset, keyStore: {} }, /keyStore: must have the methods/],
    [{ provider: { wrap() {}, unwrap() {}, describe() {}, health() {} } }, /keyStore: goes with/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(fieldEncryption, options as FieldEncryptionOptions)
      },
      { ...code('INVALID_OPTION'), message },
    )
  }
  const app: FastifyInstance = Fastify()
  t.after(() => app.close())
  await t.rejects(async () => {
    await app.register(fieldEncryption, { keyset: '{"secret":"x"}' })
  }, code('INVALID_KEYSET'))
})

await t.test('with a fixed keyset there is nothing to rotate or forget', async (t) => {
  const { app } = await build(t)
  const { fieldEncryption: service } = app
  const argument = code('INVALID_ARGUMENT')
  await t.rejects(service.rotate(), argument)
  await t.rejects(service.forget({ subject: 'x', reason: 'x' }), argument)
  await t.rejects(service.keyStatus(), argument)
  t.equal(service.provider, null)
  await t.resolves(service.health())
})
