import {
  blind,
  contextParts,
  createKeysetCipher,
  Encrypted,
  parseKeyset,
  type TableOptions,
} from '@parapet/field-encryption'
import { createLocalCipher } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { buildFixed, code, keyset, openFailed, User, usersOf } from './fixtures.ts'

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

await t.test('values of every type are decrypted with their type, nested ones too', async (t) => {
  const { users } = await usersOf(t)
  const before = structuredClone(jane)
  const row = await users.encryptRecord(jane)
  t.strictSame(jane, before, 'the given record is unchanged')
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
  t.equal(row['maybe'], null, 'null is not encrypted')
  t.notMatch(
    JSON.stringify(row, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
    /Jane@|Linden/,
  )
  const part = await users.encryptRecord({ id: 'u-1', age: 42 })
  t.strictSame(Object.keys(part), ['id', 'age'], 'a partial record becomes a partial row')
  t.strictSame(await users.decryptRecord({ ...row, ...part }), { ...revealed, age: 42 })
  t.equal(
    (await users.decryptMany(await users.encryptMany([jane, { ...jane, id: 'u-2' }]))).length,
    2,
  )
})

await t.test('a wrong type, an unknown member and a row without an id are refused', async (t) => {
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

await t.test('plaintext is not accepted as ciphertext, nor ciphertext as plaintext', async (t) => {
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

await t.test('malformed ciphertexts cause one error and no crash', async (t) => {
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

await t.test('no ciphertext opens in another cell', async (t) => {
  const { app } = await buildFixed(t)
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

await t.test('a stored record with a changed bit does not open', async (t) => {
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

await t.test("kit's cipher and a table open each other's values", async (t) => {
  const { users, app } = await usersOf(t)
  const context = contextParts({
    tenant: '',
    table: 'users',
    column: 'email',
    rowId: 'u-1',
    schemaVersion: '1;text',
  })
  const { primaryKeyId, keys } = parseKeyset(keyset)
  const kit = createLocalCipher([{ id: primaryKeyId, secret: keys[0]!.secret!.export() }])
  const row = await users.encryptRecord({ id: 'u-1', email: 'a@b.c' })
  t.equal((await kit.open(row['email'] as string, context)).toString(), 'a@b.c')
  const sealed = await kit.seal('b@c.d', context)
  t.equal((await users.decryptRecord({ id: 'u-1', email: sealed })).email, 'b@c.d')
  const [own, free] = [app.fieldEncryption.cipher(), createKeysetCipher(keyset)]
  for (const cipher of [own, free]) {
    t.equal((await cipher.open(sealed, context)).toString(), 'b@c.d')
  }
  t.equal((await kit.open(await free.seal('x', context), context)).toString(), 'x')
  for (const parts of [context, ['fe-key1', 'acme'], ['fe-file1']]) {
    await t.rejects(own.seal('forged', parts), code('INVALID_ARGUMENT'), 'no cell can be forged')
  }
  await t.resolves(own.seal('x', ['mfa', 'fe1']))
})

await t.test(
  'rows are identified by several members, by numbers and by their tenant',
  async (t) => {
    const { app } = await buildFixed(t)
    const shape = Type.Object({
      org: Type.String(),
      no: Type.Integer(),
      note: Encrypted(Type.String()),
    })
    const table = app.fieldEncryption.table('notes', shape, { id: ['org', 'no'], tenant: 'org' })
    const row = await table.encryptRecord({ org: 'acme', no: 1, note: 'x' })
    t.equal(
      (await table.decryptRecord({ ...row, no: 1n })).note,
      'x',
      'drivers return integers as different types',
    )
    t.equal((await table.decryptRecord({ ...row, no: '1' })).note, 'x')
    await t.rejects(table.decryptRecord({ ...row, no: 2 }), openFailed)
    await t.rejects(table.decryptRecord({ ...row, org: 'globex' }), openFailed)
    await t.rejects(table.decryptRecord(row, { tenant: 'globex' }), code('INVALID_ARGUMENT'))
    await t.rejects(table.encryptRecord({ no: 1, note: 'x' }), code('INVALID_ARGUMENT'))
    await t.rejects(
      table.encryptRecord({ org: 'acme', no: 1.5, note: 'x' }),
      code('INVALID_ARGUMENT'),
    )
  },
)

await t.test('an older schema version is read only if readVersions lists it', async (t) => {
  const { app } = await buildFixed(t)
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

await t.test('padding hides the length, and can be switched on and off', async (t) => {
  const { app } = await buildFixed(t)
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

await t.test('an index finds equal values in its own column, tenant and table only', async (t) => {
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

await t.test('an index has the declared bits and normalizers', async (t) => {
  const { app } = await buildFixed(t)
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
  t.match(a!['phone_idx'], /^[0-9a-f]{5}0$/, 'the unused bits are zero')
  t.not(a!['phone_exact'], b!['phone_exact'])
  const slots = ['phone_key_a', 'phone_key_b'].map((name) => a![name])
  t.equal(slots.filter((slot) => slot === null).length, 1, 'one key fills one of the two columns')
  const { text } = await table.where('phone', '49', { index: 'phone_key' })
  t.equal(text, '("phone_key_a" = ANY($1) OR "phone_key_b" = ANY($1))')
  const argument = code('INVALID_ARGUMENT')
  t.throws(() => blind({ bits: 7 }), argument)
  t.throws(() => blind({ bits: 64, unique: true }), argument)
  t.throws(() => blind({ normalize: ['upper' as never] }), argument)
})

await t.test(
  'roles reveal, mask or withhold fields; without roles the application sees all',
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
    const withoutRoles = await users.decryptRecord(row, { roles: [] })
    t.equal(withoutRoles.email, '[redacted]')
    t.strictSame(withoutRoles.phones, [{ label: 'home' }, { label: 'work' }])
    for (const roles of [[], ['admin'], ['owner', 'support']]) {
      t.notOk('secret' in (await users.decryptRecord(row, { roles })), 'no role sees it')
    }
    const tricky = await users.decryptRecord(row, {
      roles: ['constructor', '__proto__', 'default'],
    })
    t.equal(tricky.email, '[redacted]')
  },
)

await t.test('a column can be called constructor or toString', async (t) => {
  const { app } = await buildFixed(t)
  const Odd = Type.Object({
    id: Type.String(),
    constructor: Type.Optional(Encrypted(Type.String())),
    toString: Type.Optional(Encrypted(Type.String(), { index: { to_string_idx: blind() } })),
  })
  const odd = app.fieldEncryption.table('odd', Odd)
  const bare = await odd.encryptRecord({ id: '1' } as never)
  t.strictSame(bare, { id: '1' }, 'an inherited member is not encrypted')
  t.strictSame(await odd.decryptRecord(bare), { id: '1' })
  t.equal(await odd.decryptValue(bare, 'constructor'), undefined)
  const row = await odd.encryptRecord({ id: '1', constructor: 'a', toString: 'b' })
  t.match(row, { constructor: /^pe1\./, toString: /^pe1\./ })
  t.strictSame(await odd.decryptRecord(row), { id: '1', constructor: 'a', toString: 'b' })
})

await t.test(
  'decryptions emit events by column, and sampled events keep the count exact',
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
    const sampled = await buildFixed(t, { keyset, decryptedEventRatio: 0.1 })
    const table = sampled.app.fieldEncryption.table('users', User)
    for (let i = 0; i < 100; i++) await table.decryptValue(row, 'email')
    t.equal(sampled.events.length, 10)
    t.match(sampled.events[0], { details: { count: 10 } })
    const silent = await buildFixed(t, { keyset, decryptedEventRatio: 0 })
    await silent.app.fieldEncryption.table('users', User).decryptRecord(row)
    t.same(silent.events, [])
  },
)
