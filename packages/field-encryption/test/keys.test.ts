import {
  createMemoryKeyStore,
  createPostgresKeyStore,
  type KeyStore,
} from '@parapet/field-encryption'
import { createMemoryStore, createSqlClient, type SqlClient } from '@parapet/kit'
import { openPglite, usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import { buildManaged, code, Note } from './fixtures.ts'

/** The row with another, unknown key id in its ciphertext. */
function withUnknownKeyId(row: Record<string, unknown>, mask = 2): Record<string, unknown> {
  const bytes = Buffer.from(String(row['text']).slice(4), 'base64url')
  bytes.writeUInt32BE((bytes.readUInt32BE(1) ^ mask) >>> 0, 1)
  return { ...row, text: `pe1.${bytes.toString('base64url')}` }
}

function createGate() {
  let resolve: (() => void) | undefined
  const promise = new Promise<void>((opened) => (resolve = opened))
  return { promise, open: () => resolve?.() }
}

/** A key store that records its reads, and can be paused after a read. */
function gated(store: KeyStore) {
  const state = { asked: [] as (readonly string[])[], gate: undefined as Promise<void> | undefined }
  const keyStore: KeyStore = {
    ...store,
    async get(tenant, subjects) {
      state.asked.push(subjects)
      const found = await store.get(tenant, subjects)
      await state.gate
      return found
    },
  }
  return { state, keyStore }
}

await t.test('listing 10 000 rows of a tenant makes one call to the provider', async (t) => {
  const { notes, state, provider, keyStore } = await buildManaged(t)
  const rows = await notes.encryptMany(
    Array.from({ length: 10_000 }, (_, i) => ({ id: `${i}`, text: `text ${i}` })),
    { tenant: 'acme' },
  )
  const other = await buildManaged(t, { provider, keyStore })
  state.wraps = state.unwraps = 0
  const list = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      other.notes.decryptMany(rows.slice(i * 1000, (i + 1) * 1000), { tenant: 'acme' }),
    ),
  )
  t.equal(list.flat().length, 10_000)
  for (const row of rows.slice(0, 50)) await other.notes.decryptRecord(row, { tenant: 'acme' })
  t.same(
    { wraps: state.wraps, unwraps: state.unwraps },
    { wraps: 0, unwraps: 1 },
    'concurrent loads are shared',
  )
})

await t.test('the keys of 1000 subjects of a tenant cost one call to the provider', async (t) => {
  const { mine, state, provider, keyStore } = await buildManaged(t)
  const rows = await mine.encryptMany(
    Array.from({ length: 1000 }, (_, i) => ({ id: `${i}`, user: `u${i}`, text: 'x' })),
  )
  const other = await buildManaged(t, { provider, keyStore, cache: { maxEntries: 100 } })
  state.unwraps = 0
  t.equal((await other.mine.decryptMany(rows)).length, 1000)
  t.equal(state.unwraps, 1)
})

await t.test('no read fails during an outage shorter than the cache lifetime', async (t) => {
  const { notes, state, clock, events } = await buildManaged(t, {
    cache: { maxAgeMs: 60_000, maxStaleMs: 60_000 },
  })
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  clock.advance(59_000)
  state.down = true
  for (let second = 0; second < 59; second++) {
    clock.advance(1000)
    t.equal((await notes.decryptRecord(row)).text, 'x')
  }
  t.match(
    events.find(({ type }) => type === 'field_encryption.key_unavailable'),
    { severity: 'high', details: { tenant: '', served: true } },
  )
  clock.advance(10_000)
  await t.rejects(
    notes.decryptRecord(row),
    code('KEY_UNAVAILABLE', 503),
    'the cached keys have expired',
  )
  const calls = state.unwraps
  await t.rejects(notes.decryptRecord(row), code('KEY_UNAVAILABLE', 503))
  t.equal(state.unwraps, calls, 'not every request calls a provider that is down')
  state.down = false
  clock.advance(1000)
  t.equal((await notes.decryptRecord(row)).text, 'x', 'it recovers without a restart')
})

await t.test('keys are reloaded after maxUses, and a provider that hangs causes 503', async (t) => {
  const { notes, state, clock, app } = await buildManaged(t, {
    cache: { maxUses: 3 },
    deadlineMs: 50,
  })
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  state.unwraps = 0
  for (let i = 0; i < 8; i++) await notes.decryptRecord(row)
  t.equal(state.unwraps, 2)
  state.hang = true
  const late = app.fieldEncryption
    .table('notes', Note)
    .encryptRecord({ id: '1', text: 'x' }, { tenant: 'new' })
  const rejected = t.rejects(late, code('KEY_UNAVAILABLE', 503))
  // The deadline starts when the provider is called, a few event loop turns from now.
  for (let i = 0; i < 20; i++) {
    await new Promise(setImmediate)
    clock.advance(50)
  }
  await rejected
})

await t.test(
  'reading creates no keys, and a tenant without keys cannot open anything',
  async (t) => {
    const { notes, keyStore } = await buildManaged(t)
    const row = await notes.encryptRecord({ id: '1', text: 'x' }, { tenant: 'acme' })
    await t.rejects(notes.decryptRecord(row, { tenant: 'globex' }), code('OPEN_FAILED'))
    t.same(await keyStore.get('globex', ['']), [])
    const [record] = await keyStore.get('acme', [''])
    await keyStore.insert({ ...record!, tenant: 'stolen' })
    await t.rejects(
      notes.decryptRecord(row, { tenant: 'stolen' }),
      code('KEY_UNAVAILABLE', 503),
      'a key record is bound to its tenant',
    )
  },
)

await t.test('an instance that missed a rotation loads the new key when it sees it', async (t) => {
  const one = await buildManaged(t)
  // Each has its own memory store, so no change is announced to the other.
  const two = await buildManaged(t, { provider: one.provider, keyStore: one.keyStore })
  const row = await one.notes.encryptRecord({ id: '1', text: 'x' })
  t.equal((await two.notes.decryptRecord(row)).text, 'x')
  await one.service.rotate()
  const fresh = await one.notes.encryptRecord({ id: '2', text: 'y' })
  t.equal((await two.notes.decryptRecord(fresh)).text, 'y')
  const subject = await one.mine.encryptRecord({ id: '3', user: 'u', text: 'z' })
  t.equal((await two.mine.decryptRecord(subject)).text, 'z')
  await one.service.rotate({ subject: 'u' })
  const again = await one.mine.encryptRecord({ id: '3', user: 'u', text: 'z' })
  t.equal((await two.mine.decryptRecord(again)).text, 'z')
})

await t.test("a subject's keys that a new key of the tenant wraps can be loaded", async (t) => {
  const one = await buildManaged(t)
  const two = await buildManaged(t, { provider: one.provider, keyStore: one.keyStore })
  const row = await one.notes.encryptRecord({ id: '1', text: 'x' })
  await two.notes.decryptRecord(row)
  await one.service.rotate()
  const mine = await one.mine.encryptRecord({ id: '2', user: 'ann', text: 'a' })
  t.equal((await two.mine.decryptRecord(mine)).text, 'a')
})

await t.test(
  'an unknown key id does not make other rows unreadable while the provider is down',
  async (t) => {
    const { notes, state, service, keyStore, provider, clock } = await buildManaged(t)
    const row = await notes.encryptRecord({ id: '1', text: 'x' })
    state.down = true
    await t.rejects(notes.decryptRecord(withUnknownKeyId(row)), code('OPEN_FAILED'))
    t.equal((await notes.decryptRecord(row)).text, 'x', 'cached keys are still used')
    state.down = false
    const other = await buildManaged(t, { keyStore, provider })
    await service.rotate()
    state.down = true
    t.equal((await notes.decryptRecord(row)).text, 'x', 'also after a rotation was announced')
    state.down = false
    clock.advance(1000)
    const fresh = await other.notes.encryptRecord({ id: '1', text: 'y' })
    t.equal((await notes.decryptRecord(fresh)).text, 'y')
  },
)

await t.test('ciphertexts with many unknown key ids cost a few calls, not one each', async (t) => {
  const { notes, state, clock } = await buildManaged(t)
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  state.unwraps = 0
  for (let mask = 2; mask < 102; mask++) {
    await t.rejects(notes.decryptRecord(withUnknownKeyId(row, mask)), code('OPEN_FAILED'))
  }
  t.ok(state.unwraps <= 8, `${state.unwraps} calls`)
  clock.advance(60_000)
  await t.rejects(notes.decryptRecord(withUnknownKeyId(row, 200)), code('OPEN_FAILED'))
  t.equal((await notes.decryptRecord(row)).text, 'x')
})

await t.test(
  "concurrent requests for a subject's keys share one query to the key store",
  async (t) => {
    const one = await buildManaged(t)
    const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
    const [ann, bob] = (await one.mine.encryptMany(people)) as [object, object]
    const { state, keyStore } = gated(one.keyStore)
    const two = await buildManaged(t, { provider: one.provider, keyStore })
    const rows = await Promise.all(
      Array.from({ length: 50 }, (_, i) => two.mine.decryptMany(i % 2 === 0 ? [ann] : [ann, bob])),
    )
    t.equal(rows.flat().length, 75)
    t.same(state.asked, [[''], ['ann'], ['bob']])
    state.asked.length = 0
    await t.rejects(
      two.mine.decryptMany(
        Array.from({ length: 10_001 }, (_, i) => ({ ...ann, user: `unknown ${i}` })),
      ),
      code('OPEN_FAILED'),
    )
    t.ok(state.asked.length > 1)
    t.ok(
      state.asked.every((subjects) => subjects.length <= 10_000),
      'no query exceeds the limit of the port',
    )
  },
)

await t.test(
  'keys that were loading when their subject was forgotten are not cached',
  async (t) => {
    const store = createMemoryStore()
    t.after(() => store.close())
    const one = await buildManaged(t, { store })
    const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
    const [ann, bob] = (await one.mine.encryptMany(people)) as [object, object]
    const { state, keyStore } = gated(one.keyStore)
    const two = await buildManaged(t, { provider: one.provider, keyStore, store })
    await two.notes.where('text', 'warm')
    const gate = createGate()
    state.gate = gate.promise
    const early = Promise.all([two.mine.decryptRecord(ann), two.mine.decryptRecord(bob)])
    await one.service.forget({ subject: 'ann', reason: 'x' })
    state.gate = undefined
    await t.rejects(
      two.mine.decryptRecord(ann),
      code('FORGOTTEN', 410),
      'a later request does not join the old load',
    )
    gate.open()
    t.strictSame(
      (await early).map(({ text }) => text),
      ['ann', 'bob'],
      'these requests began before forget',
    )
    await t.rejects(
      two.mine.decryptRecord(ann),
      code('FORGOTTEN', 410),
      'the old load was not cached',
    )
    state.asked.length = 0
    t.equal((await two.mine.decryptRecord(bob)).text, 'bob')
    t.same(state.asked, [], "another subject's keys were cached")
  },
)

await t.test('an unknown key id does not cause a reload with every read', async (t) => {
  const { notes, state, clock } = await buildManaged(t)
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  const unknown = withUnknownKeyId(row)
  state.unwraps = 0
  for (let i = 0; i < 20; i++) await t.rejects(notes.decryptRecord(unknown), code('OPEN_FAILED'))
  t.equal(state.unwraps, 1)
  clock.advance(60_000)
  await t.rejects(notes.decryptRecord(unknown), code('OPEN_FAILED'))
  t.equal(state.unwraps, 2)
})

await t.test(
  'cached keys of subjects are used while the key store is down, and expire',
  async (t) => {
    const real = createMemoryKeyStore()
    let down = false
    const keyStore: KeyStore = {
      ...real,
      get: (...args) => (down ? Promise.reject(new Error('down')) : real.get(...args)),
    }
    const { mine, clock, events } = await buildManaged(t, { keyStore })
    const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
    const [ann, bob] = await mine.encryptMany(people)
    clock.advance(300_001)
    down = true
    t.equal((await mine.decryptRecord(ann!)).text, 'ann')
    t.match(
      events.findLast(({ type }) => type === 'field_encryption.key_unavailable'),
      { details: { served: true } },
    )
    await t.rejects(
      mine.encryptRecord({ id: 'eve', user: 'eve', text: 'x' }),
      code('KEY_UNAVAILABLE', 503),
    )
    clock.advance(300_001)
    await t.rejects(mine.decryptRecord(bob!), code('KEY_UNAVAILABLE', 503))
  },
)

await t.test(
  "a tenant's keys that rotate while a subject is loaded are loaded again",
  async (t) => {
    const { mine, service, provider, keyStore } = await buildManaged(t)
    await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
    let meanwhile: (() => Promise<unknown>) | undefined = () => service.rotate()
    const slow: KeyStore = {
      ...keyStore,
      async get(tenant, subjects) {
        const work = subjects[0] === 'ann' ? meanwhile : undefined
        if (work !== undefined) meanwhile = undefined
        await work?.()
        return keyStore.get(tenant, subjects)
      },
    }
    const other = await buildManaged(t, { provider, keyStore: slow })
    t.match(await other.service.keyStatus({ subject: 'ann' }), { enabledKeyIds: { length: 1 } })
  },
)

await t.test(
  "while changes may be missed, subjects' keys are read from the key store",
  async (t) => {
    const one = await buildManaged(t)
    const listeners: { interrupted: (reason: string) => void; restored: () => void }[] = []
    const interrupted = {
      publish: async () => {
        throw new Error('down')
      },
      subscribe: async (_: string, listener: (typeof listeners)[number]) => {
        listeners.push(listener)
        return async () => {}
      },
    }
    const two = await buildManaged(t, {
      store: interrupted as never,
      provider: one.provider,
      keyStore: one.keyStore,
    })
    const row = await one.mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
    t.equal((await two.mine.decryptRecord(row)).text, 'a')
    listeners[0]!.interrupted('gone')
    t.equal((await two.mine.decryptRecord(row)).text, 'a')
    await one.service.forget({ subject: 'ann', reason: 'x' })
    await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
    listeners[0]!.restored()
    await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
    await t.resolves(two.service.rotate(), 'a change that cannot be announced is still applied')
  },
)

await t.test('the app starts although the store refuses the subscription', async (t) => {
  const store = {
    publish: async () => {},
    subscribe: async () => Promise.reject(new Error('down')),
  }
  const { mine, service } = await buildManaged(t, { store: store as never })
  const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
  await service.forget({ subject: 'ann', reason: 'x' })
  await t.rejects(mine.decryptRecord(row), code('FORGOTTEN', 410))
})

async function checkKeyStore(t: Test, keyStore: KeyStore): Promise<void> {
  const blank = { keyset: '{}', wrappedBy: 5, version: 1, rotatedAt: 1_700_000_000_000 }
  const record = { ...blank, tenant: 'a', subject: 's', forgottenAt: null, legalHold: null }
  t.same(await keyStore.get('a', ['s']), [])
  const inserted = await Promise.all([keyStore.insert(record), keyStore.insert(record)])
  t.same(inserted.filter(Boolean).length, 1, 'one of two concurrent inserts succeeds')
  t.same(await keyStore.get('a', ['s', 'other']), [record])
  const next = { ...record, version: 2, legalHold: 'case', wrappedBy: 4_294_967_295 }
  const updates = await Promise.all([keyStore.update(next), keyStore.update(next)])
  t.same(updates.filter(Boolean).length, 1)
  t.same(await keyStore.get('a', ['s']), [next])
  t.equal(await keyStore.countWrappedBy('a', 4_294_967_295), 1)
  t.same(await keyStore.notWrappedBy('a', 5, 10), [next])
  const gone = {
    ...next,
    version: 3,
    keyset: null,
    forgottenAt: 1_700_000_000_001,
    legalHold: null,
  }
  t.equal(await keyStore.update(gone), true)
  t.same(await keyStore.get('a', ['s']), [gone])
  t.equal(
    await keyStore.countWrappedBy('a', 4_294_967_295),
    0,
    'forgotten subjects are not counted',
  )
  t.equal(await keyStore.addUses('a', 's', 7, 2 ** 31), 2 ** 31)
  t.equal(await keyStore.addUses('a', 's', 7, 2 ** 31), 2 ** 32)
}

await t.test('all key stores meet the same contract', async (t) => {
  await t.test('memory', (t) => checkKeyStore(t, createMemoryKeyStore()))
  await t.test('PostgreSQL', async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    await checkKeyStore(t, createPostgresKeyStore(sql))
    const { mine, service } = await buildManaged(t, { keyStore: createPostgresKeyStore(sql) })
    const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' }, { tenant: 'acme' })
    await service.forget({ tenant: 'acme', subject: 'ann', reason: 'x' })
    await t.rejects(mine.decryptRecord(row, { tenant: 'acme' }), code('FORGOTTEN', 410))
  })
  await t.test('PGlite, after a failed first call', async (t) => {
    const db = await openPglite()
    t.after(() => db.close())
    const real = createSqlClient(db)
    let down = true
    const flaky: SqlClient = {
      query: (text, values) => real.query(text, values),
      transaction: (work) => (down ? Promise.reject(new Error('down')) : real.transaction(work)),
    }
    const keyStore = createPostgresKeyStore(flaky)
    await t.rejects(keyStore.get('a', ['']), { message: 'down' })
    down = false
    await checkKeyStore(t, keyStore)
  })
})

await t.test('the uses of a key are counted across processes', async (t) => {
  const { notes, keyStore, app, service } = await buildManaged(t)
  await notes.encryptMany(Array.from({ length: 5000 }, (_, i) => ({ id: `${i}`, text: 'x' })))
  const { primaryKeyId } = (await service.keyStatus())!
  await app.close()
  t.equal(await keyStore.addUses('', '', primaryKeyId, 0), 5000)
})

await t.test('concurrent and failed writes of the usage count count every use once', async (t) => {
  const real = createMemoryKeyStore()
  const gate = createGate()
  let fails = true
  const keyStore: KeyStore = {
    ...real,
    async addUses(...args) {
      await gate.promise
      if (fails) {
        fails = false
        throw new Error('down')
      }
      return real.addUses(...args)
    },
  }
  const { notes, app, service } = await buildManaged(t, { keyStore })
  const many = Array.from({ length: 5000 }, (_, i) => ({ id: `${i}`, text: 'x' }))
  for (let i = 0; i < 3; i++) await notes.encryptMany(many)
  const { primaryKeyId } = (await service.keyStatus())!
  gate.open()
  await app.close()
  t.equal(await real.addUses('', '', primaryKeyId, 0), 15_000)
})
