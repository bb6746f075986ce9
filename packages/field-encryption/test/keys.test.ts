import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import {
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  type SecurityEvent,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import {
  createAwsKmsProvider,
  createLocalProvider,
  createMemoryKeyStore,
  createPkcs11Provider,
  createPostgresKeyStore,
  createVaultProvider,
  Encrypted,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  blind,
  lockKeyset,
  verifyReceipt,
  type FieldEncryptionOptions,
  type KeyProvider,
  type KeyStore,
} from '@parapet/field-encryption'
import { PGlite } from '@electric-sql/pglite'
import { KMSClient } from '@aws-sdk/client-kms'
import { usePostgres, useRedis } from '@parapet/testing'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'

const rootKeyset = exportKeyset(generateKeyset())
const receiptKeys = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})
const receiptKey = receiptKeys.privateKey
const code = (what: string, statusCode = 500) => ({
  code: `PARAPET_FIELD_ENCRYPTION_${what}`,
  statusCode,
})

/** A provider that counts its calls and can be switched off. */
function watched(provider = createLocalProvider({ keyset: rootKeyset })) {
  const state = { wraps: 0, unwraps: 0, down: false, hang: false }
  const ask = () => {
    if (state.hang) return new Promise<never>(() => {})
    if (state.down) throw new Error('the provider is down')
    return undefined
  }
  const watching: KeyProvider = {
    async wrap(dataKey, context) {
      state.wraps++
      await ask()
      return provider.wrap(dataKey, context)
    },
    async unwrap(wrapped, context) {
      state.unwraps++
      await ask()
      return provider.unwrap(wrapped, context)
    },
    describe: () => provider.describe(),
    health: async () => ask(),
  }
  return { state, provider: watching }
}

const Note = Type.Object({
  id: Type.String(),
  user: Type.Optional(Type.String()),
  text: Encrypted(Type.String(), { index: { text_idx: blind() } }),
})

async function build(t: Test, options: Partial<FieldEncryptionOptions> = {}) {
  const { state, provider } = watched()
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  const keyStore = createMemoryKeyStore()
  const settings = { provider, keyStore, clock, receiptKey, ...options }
  await app.register(fieldEncryption, settings)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const notes = app.fieldEncryption.table('notes', Note)
  const mine = app.fieldEncryption.table('mine', Note, { subject: 'user' })
  return {
    app,
    events,
    clock,
    state,
    provider,
    keyStore: settings.keyStore,
    notes,
    mine,
    service: app.fieldEncryption,
  }
}

await t.test('listing 10 000 rows of a tenant makes one call of the provider', async (t) => {
  const { notes, state, provider, keyStore } = await build(t)
  const rows = await notes.encryptMany(
    Array.from({ length: 10_000 }, (_, i) => ({ id: `${i}`, text: `text ${i}` })),
    { tenant: 'acme' },
  )
  const other = await build(t, { provider, keyStore })
  state.wraps = state.unwraps = 0
  const list = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      other.notes.decryptMany(rows.slice(i * 1000, (i + 1) * 1000), { tenant: 'acme' }),
    ),
  )
  t.equal(list.flat().length, 10_000)
  for (const row of rows.slice(0, 50)) await other.notes.decryptRecord(row, { tenant: 'acme' })
  t.same({ wraps: state.wraps, unwraps: state.unwraps }, { wraps: 0, unwraps: 1 }, 'single flight')
})

await t.test('10 000 subjects of a tenant cost one call as well', async (t) => {
  const { mine, state, provider, keyStore } = await build(t)
  const rows = await mine.encryptMany(
    Array.from({ length: 1000 }, (_, i) => ({ id: `${i}`, user: `u${i}`, text: 'x' })),
  )
  const other = await build(t, { provider, keyStore, cache: { maxEntries: 100 } })
  state.unwraps = 0
  t.equal((await other.mine.decryptMany(rows)).length, 1000)
  t.equal(state.unwraps, 1)
})

await t.test('an outage shorter than the cache lifetime fails no read', async (t) => {
  const { notes, state, clock, events } = await build(t, {
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
  await t.rejects(notes.decryptRecord(row), code('KEY_UNAVAILABLE', 503), 'and then it is over')
  const calls = state.unwraps
  await t.rejects(notes.decryptRecord(row), code('KEY_UNAVAILABLE', 503))
  t.equal(state.unwraps, calls, 'a provider that is down is not asked by every request')
  state.down = false
  clock.advance(1000)
  t.equal((await notes.decryptRecord(row)).text, 'x', 'and it comes back by itself')
})

await t.test(
  'keys are fetched anew by age and by uses, and a provider that hangs is left',
  async (t) => {
    const { notes, state, clock, app } = await build(t, { cache: { maxUses: 3 }, deadlineMs: 50 })
    const row = await notes.encryptRecord({ id: '1', text: 'x' })
    state.unwraps = 0
    for (let i = 0; i < 8; i++) await notes.decryptRecord(row)
    t.equal(state.unwraps, 2)
    state.hang = true
    const late = app.fieldEncryption
      .table('notes', Note)
      .encryptRecord({ id: '1', text: 'x' }, { tenant: 'new' })
    const rejected = t.rejects(late, code('KEY_UNAVAILABLE', 503))
    // The deadline runs from when the provider is asked, a few turns from now.
    for (let i = 0; i < 20; i++) {
      await new Promise(setImmediate)
      clock.advance(50)
    }
    await rejected
  },
)

await t.test('reading makes no keys, and a tenant without keys has nothing to open', async (t) => {
  const { notes, keyStore } = await build(t)
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
})

await t.test('rotation: what is old is read, what is new is sealed by the new key', async (t) => {
  const { notes, service, clock, events, state } = await build(t)
  const old = await notes.encryptRecord({ id: '1', text: 'old' })
  const report = await service.rotate()
  t.match(events.at(-1), { type: 'field_encryption.rotated', details: { tenant: '', ...report } })
  t.not(report.primaryKeyId % 2, report.previousKeyId % 2)
  const fresh = await notes.encryptRecord({ id: '2', text: 'new' })
  t.strictSame(
    (await notes.decryptMany([old, fresh])).map(({ text }) => text),
    ['old', 'new'],
  )
  const { values } = await notes.where('text', 'old')
  t.equal(values[0]!.length, 2, 'both keys are searched')
  t.ok(values[0]!.includes(old['text_idx'] as string))
  const inUse = code('KEY_IN_USE', 409)
  await t.rejects(service.rotate(), inUse, 'one rotation at a time')
  await t.rejects(service.retire(report.primaryKeyId), inUse, 'the primary stays')
  await t.rejects(service.retire(report.previousKeyId), inUse, 'an instance may still seal with it')
  t.equal((await service.keyStatus()).settled, false)
  clock.advance(600_001)
  t.strictSame((await service.keyStatus()).settled, true)
  await service.retire(report.previousKeyId)
  await t.rejects(notes.decryptRecord(old), code('OPEN_FAILED'), 'destroyed is destroyed')
  t.equal((await notes.decryptRecord(fresh)).text, 'new')
  await service.rotate()
  t.ok(state.wraps >= 3)
})

await t.test('an instance that missed a rotation learns the key when it meets it', async (t) => {
  const one = await build(t)
  // Two memory stores: nothing is heard of the other.
  const two = await build(t, { provider: one.provider, keyStore: one.keyStore })
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

await t.test(
  "a tenant's rotation wraps its subjects' keys anew, before the old key may go",
  async (t) => {
    const { mine, service, clock, keyStore } = await build(t)
    const rows = await mine.encryptMany(
      ['a', 'b', 'c'].map((user) => ({ id: user, user, text: user })),
    )
    const { primaryKeyId, previousKeyId } = await service.rotate()
    t.equal(await keyStore.countWrappedBy('', previousKeyId), 0)
    t.equal(await keyStore.countWrappedBy('', primaryKeyId), 3)
    clock.advance(600_001)
    await service.retire(previousKeyId)
    t.strictSame(
      (await mine.decryptMany(rows)).map(({ text }) => text),
      ['a', 'b', 'c'],
    )
  },
)

await t.test('a subject whose keys were wrapped by a new key of the tenant is read', async (t) => {
  const one = await build(t)
  const two = await build(t, { provider: one.provider, keyStore: one.keyStore })
  const row = await one.notes.encryptRecord({ id: '1', text: 'x' })
  await two.notes.decryptRecord(row)
  await one.service.rotate()
  const mine = await one.mine.encryptRecord({ id: '2', user: 'ann', text: 'a' })
  t.equal((await two.mine.decryptRecord(mine)).text, 'a')
})

/** The row as if another key had sealed it: one that nobody has. */
function strayOf(row: Record<string, unknown>, mask = 2): Record<string, unknown> {
  const bytes = Buffer.from(String(row['text']).slice(4), 'base64url')
  bytes.writeUInt32BE((bytes.readUInt32BE(1) ^ mask) >>> 0, 1)
  return { ...row, text: `pe1.${bytes.toString('base64url')}` }
}

await t.test('a stray row makes no outage of a provider that is down', async (t) => {
  const { notes, state, service, keyStore, provider, clock } = await build(t)
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  state.down = true
  await t.rejects(notes.decryptRecord(strayOf(row)), code('OPEN_FAILED'))
  t.equal((await notes.decryptRecord(row)).text, 'x', 'the keys at hand go on serving')
  state.down = false
  const other = await build(t, { keyStore, provider })
  await service.rotate()
  state.down = true
  t.equal((await notes.decryptRecord(row)).text, 'x', 'so they do after word of a rotation')
  state.down = false
  clock.advance(1000)
  const fresh = await other.notes.encryptRecord({ id: '1', text: 'y' })
  t.equal((await notes.decryptRecord(fresh)).text, 'y')
})

await t.test('rows that each name another key cost a few calls, not one each', async (t) => {
  const { notes, state, clock } = await build(t)
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  state.unwraps = 0
  for (let mask = 2; mask < 102; mask++) {
    await t.rejects(notes.decryptRecord(strayOf(row, mask)), code('OPEN_FAILED'))
  }
  t.ok(state.unwraps <= 8, `${state.unwraps} calls`)
  clock.advance(60_000)
  await t.rejects(notes.decryptRecord(strayOf(row, 200)), code('OPEN_FAILED'))
  t.equal((await notes.decryptRecord(row)).text, 'x')
})

function createGate() {
  let resolve: (() => void) | undefined
  const promise = new Promise<void>((opened) => (resolve = opened))
  return { promise, open: () => resolve?.() }
}

/** A key store that counts what it is asked for, and can be held up after it has read. */
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

await t.test('a subject whom many ask for at once is one question to the key table', async (t) => {
  const one = await build(t)
  const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
  const [ann, bob] = (await one.mine.encryptMany(people)) as [object, object]
  const { state, keyStore } = gated(one.keyStore)
  const two = await build(t, { provider: one.provider, keyStore })
  const rows = await Promise.all(
    Array.from({ length: 50 }, (_, i) => two.mine.decryptMany(i % 2 === 0 ? [ann] : [ann, bob])),
  )
  t.equal(rows.flat().length, 75)
  t.same(state.asked, [[''], ['ann'], ['bob']])
  state.asked.length = 0
  await t.rejects(
    two.mine.decryptMany(
      Array.from({ length: 10_001 }, (_, i) => ({ ...ann, user: `nobody ${i}` })),
    ),
    code('OPEN_FAILED'),
  )
  t.ok(state.asked.length > 1)
  t.ok(
    state.asked.every((subjects) => subjects.length <= 10_000),
    'no more than the port promises',
  )
})

await t.test(
  'keys that were being fetched when a subject was forgotten are not kept',
  async (t) => {
    const store = createMemoryStore()
    t.after(() => store.close())
    const one = await build(t, { store })
    const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
    const [ann, bob] = (await one.mine.encryptMany(people)) as [object, object]
    const { state, keyStore } = gated(one.keyStore)
    const two = await build(t, { provider: one.provider, keyStore, store })
    await two.notes.where('text', 'warm')
    const gate = createGate()
    state.gate = gate.promise
    const early = Promise.all([two.mine.decryptRecord(ann), two.mine.decryptRecord(bob)])
    await one.service.forget({ subject: 'ann', reason: 'x' })
    state.gate = undefined
    await t.rejects(two.mine.decryptRecord(ann), code('FORGOTTEN', 410), 'nobody joins what is old')
    gate.open()
    t.strictSame(
      (await early).map(({ text }) => text),
      ['ann', 'bob'],
      'it was asked before',
    )
    await t.rejects(two.mine.decryptRecord(ann), code('FORGOTTEN', 410), 'nor is it kept')
    state.asked.length = 0
    t.equal((await two.mine.decryptRecord(bob)).text, 'bob')
    t.same(state.asked, [], "another subject's keys are")
  },
)

await t.test('a key that nobody has is not asked for by every read', async (t) => {
  const { notes, state, clock } = await build(t)
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  const stray = strayOf(row)
  state.unwraps = 0
  for (let i = 0; i < 20; i++) await t.rejects(notes.decryptRecord(stray), code('OPEN_FAILED'))
  t.equal(state.unwraps, 1)
  clock.advance(60_000)
  await t.rejects(notes.decryptRecord(stray), code('OPEN_FAILED'))
  t.equal(state.unwraps, 2)
})

await t.test(
  "subjects' keys at hand serve while the key table is down, new ones do not",
  async (t) => {
    const real = createMemoryKeyStore()
    let down = false
    const keyStore: KeyStore = {
      ...real,
      get: (...args) => (down ? Promise.reject(new Error('down')) : real.get(...args)),
    }
    const { mine, clock, events } = await build(t, { keyStore })
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

await t.test('forget makes everything of a subject unreadable, and nothing else', async (t) => {
  const { mine, service, events } = await build(t)
  const [a, b] = await mine.encryptMany([
    { id: '1', user: 'ann', text: 'a' },
    { id: '2', user: 'bob', text: 'b' },
  ])
  const receipt = await service.forget({ subject: 'ann', reason: 'gdpr-17' })
  const gone = code('FORGOTTEN', 410)
  await t.rejects(mine.decryptRecord(a!), gone)
  await t.rejects(mine.encryptRecord({ id: '3', user: 'ann', text: 'again' }), gone)
  await t.rejects(mine.decryptMany([a!, b!]), gone)
  t.strictSame(await mine.decryptMany([a!, b!], { forgotten: 'withhold' }), [
    { id: '1', user: 'ann' },
    { id: '2', user: 'bob', text: 'b' },
  ])
  t.match(events, [
    { type: 'field_encryption.forgotten', resourceId: 'ann', details: { reason: 'gdpr-17' } },
  ])
  const stated = verifyReceipt(receipt, receiptKeys.publicKey)
  t.match(stated, { tenant: '', subject: 'ann', reason: 'gdpr-17', iat: 1_700_000_000 })
  t.equal(stated!.keyIds.length, 1)
  const again = await service.forget({ subject: 'ann', reason: 'gdpr-17' })
  t.match(verifyReceipt(again, receiptKeys.publicKey), { iat: 1_700_000_000, keyIds: [] })
  await service.forget({ subject: 'never seen', reason: 'gdpr-17' })
  await t.rejects(mine.encryptRecord({ id: '3', user: 'never seen', text: 'x' }), gone)
})

await t.test('a receipt that was changed, or signed by another, is none', async (t) => {
  const { service } = await build(t)
  const receipt = await service.forget({ subject: 'ann', reason: 'x' })
  const [header, , signature] = receipt.split('.')
  const forged = Buffer.from('{"subject":"bob"}').toString('base64url')
  const other = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  t.equal(verifyReceipt(`${header}.${forged}.${signature}`, receiptKeys.publicKey), null)
  t.equal(verifyReceipt(receipt, other.publicKey), null)
  for (const bad of ['', 'a.b', `${receipt}.x`, `${receipt}=`, `x${receipt}`, null, 7, {}]) {
    t.equal(verifyReceipt(bad as string, receiptKeys.publicKey), null)
  }
})

await t.test('a legal hold keeps a subject from being forgotten until it ends', async (t) => {
  const { mine, service } = await build(t)
  const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
  await service.hold({ subject: 'ann', reason: 'case 7' })
  await t.rejects(service.forget({ subject: 'ann', reason: 'x' }), code('LEGAL_HOLD', 423))
  t.equal((await mine.decryptRecord(row)).text, 'a')
  await service.release({ subject: 'ann' })
  await service.forget({ subject: 'ann', reason: 'x' })
  await t.rejects(service.hold({ subject: 'ann', reason: 'late' }), code('FORGOTTEN', 410))
  const argument = code('INVALID_ARGUMENT')
  await t.rejects(service.forget({ subject: '', reason: 'x' }), argument)
  await t.rejects(service.forget({ subject: 'x', reason: '' }), argument)
})

await t.test('without a key to sign with nobody is forgotten', async (t) => {
  const { provider } = watched()
  const app = Fastify()
  t.after(() => app.close())
  const keyStore = createMemoryKeyStore()
  await app.register(fieldEncryption, { provider, keyStore })
  const mine = app.fieldEncryption.table('mine', Note, { subject: 'user' })
  const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
  await t.rejects(
    app.fieldEncryption.forget({ subject: 'ann', reason: 'x' }),
    code('INVALID_ARGUMENT'),
  )
  t.equal((await mine.decryptRecord(row)).text, 'a')
  const other = Fastify()
  t.after(() => other.close())
  await t.rejects(async () => {
    await other.register(fieldEncryption, { provider, keyStore, receiptKey: 'no PEM' })
  }, code('INVALID_ARGUMENT'))
})

await t.test('forget and rotate reach every instance in under a second', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const stores = [0, 1].map(() => {
    const client = new Redis(redis.url)
    const store = createRedisStore({ client, prefix: redis.prefix })
    t.after(async () => {
      await store.close()
      client.disconnect()
    })
    return store
  })
  const one = await build(t, { store: stores[0]! })
  const two = await build(t, { store: stores[1]!, provider: one.provider, keyStore: one.keyStore })
  const row = await one.mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
  t.equal((await two.mine.decryptRecord(row)).text, 'a', 'the keys are at hand in both')
  const heard = new Promise<void>((resolve) => {
    void stores[1]!.subscribe('field-encryption:keys', {
      message: () => resolve(),
      interrupted: () => {},
      restored: () => {},
    })
  })
  const start = performance.now()
  await one.service.forget({ subject: 'ann', reason: 'gdpr-17' })
  await heard
  // No clock has moved: what takes the keys away is the message, not their age.
  await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
  const taken = Math.round(performance.now() - start)
  t.comment(`${taken} ms`)
  if (process.env['PARAPET_SOAK'] === '1') t.ok(taken < 1000, 'under a second')
})

await t.test('a change that could not be announced is announced until it is', async (t) => {
  const real = createMemoryStore()
  t.after(() => real.close())
  let down = true
  let tries = 0
  const flaky: Pick<Store, 'publish' | 'subscribe'> = {
    async publish(...args) {
      tries++
      if (down) throw new Error('the store is down for this one alone')
      return real.publish(...args)
    },
    subscribe: (...args) => real.subscribe(...args),
  }
  const one = await build(t, { store: flaky as Store })
  const two = await build(t, { store: real, provider: one.provider, keyStore: one.keyStore })
  const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
  const rows = (await one.mine.encryptMany(people)) as [object, object]
  await two.mine.decryptMany(rows)
  for (const subject of ['ann', 'bob']) await one.service.forget({ subject, reason: 'x' })
  one.clock.advance(1000)
  await new Promise(setImmediate)
  t.equal(tries, 3, 'the others wait for the first')
  down = false
  one.clock.advance(1000)
  await new Promise(setImmediate)
  for (const row of rows) await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
  one.clock.advance(60_000)
  await new Promise(setImmediate)
  t.equal(tries, 5, 'and then it is quiet')
})

await t.test('what the key table says when it fails stays in the log', async (t) => {
  const real = createMemoryKeyStore()
  const broken: KeyStore = {
    ...real,
    get: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:5432')),
  }
  const { service } = await build(t, { keyStore: broken })
  const asked: (() => Promise<unknown>)[] = [
    () => service.rotate(),
    () => service.retire(7),
    () => service.forget({ subject: 'ann', reason: 'x' }),
    () => service.hold({ subject: 'ann', reason: 'x' }),
    () => service.release({ subject: 'ann' }),
    () => service.keyStatus(),
  ]
  for (const ask of asked) {
    const error = await t.rejects(ask(), code('KEY_UNAVAILABLE', 503))
    t.match(error, { message: 'The encryption key is unavailable', cause: /ECONNREFUSED/ })
  }
})

await t.test(
  'a tenant that is rotated while a subject is looked up is looked up again',
  async (t) => {
    const { mine, service, provider, keyStore } = await build(t)
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
    const other = await build(t, { provider, keyStore: slow })
    t.match(await other.service.keyStatus({ subject: 'ann' }), { enabledKeyIds: { length: 1 } })
  },
)

await t.test(
  'while nothing is heard of changes, subjects’ keys are read from the table',
  async (t) => {
    const one = await build(t)
    const listeners: { interrupted: (reason: string) => void; restored: () => void }[] = []
    const deaf = {
      publish: async () => {
        throw new Error('down')
      },
      subscribe: async (_: string, listener: (typeof listeners)[number]) => {
        listeners.push(listener)
        return async () => {}
      },
    }
    const two = await build(t, {
      store: deaf as never,
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
    await t.resolves(two.service.rotate(), 'what cannot be announced is still done')
  },
)

await t.test('a store that cannot be subscribed to is no reason not to start', async (t) => {
  const store = {
    publish: async () => {},
    subscribe: async () => Promise.reject(new Error('down')),
  }
  const { mine, service } = await build(t, { store: store as never })
  const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
  await service.forget({ subject: 'ann', reason: 'x' })
  await t.rejects(mine.decryptRecord(row), code('FORGOTTEN', 410))
})

async function checkKeyStore(t: Test, keyStore: KeyStore): Promise<void> {
  const blank = { keyset: '{}', wrappedBy: 5, version: 1, rotatedAt: 1_700_000_000_000 }
  const record = { ...blank, tenant: 'a', subject: 's', forgottenAt: null, legalHold: null }
  t.same(await keyStore.get('a', ['s']), [])
  const racers = await Promise.all([keyStore.insert(record), keyStore.insert(record)])
  t.same(racers.filter(Boolean).length, 1, 'one of two is first')
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
  t.equal(await keyStore.countWrappedBy('a', 4_294_967_295), 0, 'what is forgotten needs no key')
  t.equal(await keyStore.addUses('a', 's', 7, 2 ** 31), 2 ** 31)
  t.equal(await keyStore.addUses('a', 's', 7, 2 ** 31), 2 ** 32)
}

await t.test('the key stores keep one contract', async (t) => {
  await t.test('memory', (t) => checkKeyStore(t, createMemoryKeyStore()))
  await t.test('PostgreSQL', async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    await checkKeyStore(t, createPostgresKeyStore(sql))
    const { mine, service } = await build(t, { keyStore: createPostgresKeyStore(sql) })
    const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'a' }, { tenant: 'acme' })
    await service.forget({ tenant: 'acme', subject: 'ann', reason: 'x' })
    await t.rejects(mine.decryptRecord(row, { tenant: 'acme' }), code('FORGOTTEN', 410))
  })
  await t.test('PGlite, also one that is down at first', async (t) => {
    const db = await PGlite.create()
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

await t.test('what a key has sealed is counted across processes', async (t) => {
  const { notes, keyStore, app, service } = await build(t)
  await notes.encryptMany(Array.from({ length: 5000 }, (_, i) => ({ id: `${i}`, text: 'x' })))
  const { primaryKeyId } = await service.keyStatus()
  await app.close()
  t.equal(await keyStore.addUses('', '', primaryKeyId, 0), 5000)
})

await t.test('what is told of uses while more is told is counted once', async (t) => {
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
  const { notes, app, service } = await build(t, { keyStore })
  const many = Array.from({ length: 5000 }, (_, i) => ({ id: `${i}`, text: 'x' }))
  for (let i = 0; i < 3; i++) await notes.encryptMany(many)
  const { primaryKeyId } = await service.keyStatus()
  gate.open()
  await app.close()
  t.equal(await real.addUses('', '', primaryKeyId, 0), 15_000)
})

async function checkProvider(t: Test, provider: KeyProvider): Promise<void> {
  const dataKey = randomBytes(32)
  const context = { purpose: 'test', tenant: 'acme' }
  const wrapped = await provider.wrap(dataKey, context)
  t.notOk(Buffer.from(wrapped).includes(dataKey))
  t.ok(Buffer.from(await provider.unwrap(wrapped, context)).equals(dataKey))
  await t.rejects(provider.unwrap(wrapped, { purpose: 'test', tenant: 'globex' }), 'another tenant')
  await t.rejects(provider.unwrap(wrapped, { purpose: 'test', tenant: '' }), 'no tenant')
  const damaged = Buffer.from(wrapped)
  damaged[damaged.length >> 1]! ^= 1
  await t.rejects(provider.unwrap(damaged, context), 'damaged')
  await t.rejects(provider.unwrap(Buffer.alloc(3), context), 'cut')
  await t.resolves(provider.health())
  const { notes } = await build(t, { provider })
  const row = await notes.encryptRecord({ id: '1', text: 'x' })
  t.equal((await notes.decryptRecord(row)).text, 'x')
}

await t.test('the local provider reads a variable, a file, a passphrase', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-keys-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'keyset.json')
  const passphrase = 'correct horse battery staple'
  await checkProvider(t, createLocalProvider({ keyset: rootKeyset }))
  const late = createLocalProvider({ file, passphrase })
  await t.rejects(late.health(), { code: 'ENOENT' })
  writeFileSync(file, await lockKeyset(rootKeyset, passphrase))
  await checkProvider(t, late)
  const wrong = createLocalProvider({ file, passphrase: 'another passphrase' })
  await t.rejects(wrong.health(), code('OPEN_FAILED'))
  await t.rejects(
    createLocalProvider({ file, passphrase: 'short' }).health(),
    code('INVALID_ARGUMENT'),
  )
  const unlocked = createLocalProvider({ keyset: rootKeyset, passphrase })
  await t.rejects(unlocked.health(), code('INVALID_KEYSET'), 'it was never locked')
  const name = `PARAPET_TEST_${randomUUID().replaceAll('-', '')}`
  const env = createLocalProvider({ env: name })
  await t.rejects(env.health(), code('INVALID_KEYSET'))
  process.env[name] = rootKeyset
  t.after(() => delete process.env[name])
  await t.resolves(env.health())
  t.throws(() => createLocalProvider({}), code('INVALID_ARGUMENT'))
  t.throws(() => createLocalProvider({ file, env: name }), code('INVALID_ARGUMENT'))
})

/** Reads the body of a request. */
async function bodyOf(request: AsyncIterable<Uint8Array>): Promise<Record<string, unknown>> {
  const pieces: Uint8Array[] = []
  for await (const piece of request) pieces.push(piece)
  const text = Buffer.concat(pieces).toString()
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function send(response: ServerResponse, status: number, data: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data))
}

async function listen(t: Test, server: Server): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    return new Promise<void>((resolve) => void server.close(() => resolve()))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The contract of Transit, as its documentation has it: sealing is our local provider's. */
async function startTransit(t: Test): Promise<string> {
  const { createAead } = await import('../src/aead.ts')
  const aead = createAead(generateKeyset())
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bodyOf(request)
      if (request.headers['x-vault-token'] !== 't0ken')
        return send(response, 403, { errors: ['denied'] })
      if (request.headers['x-vault-namespace'] !== 'team')
        return send(response, 404, { errors: [] })
      const ad = Buffer.from(textOf(body['associated_data']), 'base64')
      if (request.url === '/v1/transit/encrypt/orders') {
        const plain = Buffer.from(String(body['plaintext']), 'base64')
        const ciphertext = `vault:v1:${aead.seal(plain, ad).toString('base64')}`
        return send(response, 200, { data: { ciphertext, key_version: 1 } })
      }
      if (request.url === '/v1/transit/decrypt/orders') {
        const sealed = Buffer.from(String(body['ciphertext']).slice(9), 'base64')
        const plain = aead.tryOpen(sealed, ad)
        if (plain === undefined)
          return send(response, 400, { errors: ['cipher: message authentication failed'] })
        return send(response, 200, { data: { plaintext: plain.toString('base64') } })
      }
      if (request.url === '/v1/transit/keys/orders')
        return send(response, 200, { data: { name: 'orders' } })
      return send(response, 404, { errors: [] })
    })()
  })
  return listen(t, server)
}

await t.test("Vault's Transit wraps, and a refusal tells nothing", async (t) => {
  const address = await startTransit(t)
  const options = { address, key: 'orders', namespace: 'team' }
  await checkProvider(t, createVaultProvider({ ...options, token: async () => 't0ken' }))
  const unavailable = code('KEY_UNAVAILABLE', 503)
  await t.rejects(createVaultProvider({ ...options, token: 'wrong' }).health(), unavailable)
  await t.rejects(
    createVaultProvider({ ...options, key: 'other', token: 't0ken' }).health(),
    unavailable,
  )
  const argument = code('INVALID_ARGUMENT')
  for (const bad of [
    'http://vault.example',
    'ftp://127.0.0.1',
    'vault',
    'http://127.0.0.1.example',
  ]) {
    t.throws(() => createVaultProvider({ ...options, token: 'x', address: bad }), argument, bad)
  }
  t.throws(() => createVaultProvider({ ...options, token: 'x', key: '../sys' }), argument)
  t.throws(() => createVaultProvider({ ...options, token: 'x', mount: 'a/../b' }), argument)
})

/** KMS in JSON 1.1, as far as data keys go. */
async function startKms(t: Test): Promise<{ url: string; calls: string[] }> {
  const { createAead } = await import('../src/aead.ts')
  const aead = createAead(generateKeyset())
  const calls: string[] = []
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bodyOf(request)
      const target = String(request.headers['x-amz-target']).replace('TrentService.', '')
      calls.push(target)
      const invalid = () =>
        send(response, 400, { __type: 'InvalidCiphertextException', message: '' })
      if (body['KeyId'] !== 'alias/parapet')
        return send(response, 400, { __type: 'NotFoundException' })
      const context = (body['EncryptionContext'] ?? {}) as Record<string, string>
      if (Object.values(context).includes(''))
        return send(response, 400, { __type: 'ValidationException' })
      const ad = Buffer.from(
        JSON.stringify(
          Object.entries(context)
            .flat()
            .toSorted((a, b) => (a < b ? -1 : 1)),
        ),
      )
      const seal = (plain: Buffer) => aead.seal(plain, ad).toString('base64')
      if (target === 'GenerateDataKey') {
        const plain = randomBytes(32)
        return send(response, 200, {
          Plaintext: plain.toString('base64'),
          CiphertextBlob: seal(plain),
        })
      }
      if (target === 'Encrypt') {
        return send(response, 200, {
          CiphertextBlob: seal(Buffer.from(String(body['Plaintext']), 'base64')),
        })
      }
      if (target === 'Decrypt') {
        const sealed = Buffer.from(String(body['CiphertextBlob']), 'base64')
        const plain = aead.tryOpen(sealed, ad)
        return plain === undefined
          ? invalid()
          : send(response, 200, { Plaintext: plain.toString('base64') })
      }
      return send(response, 200, { KeyMetadata: { KeyId: 'alias/parapet' } })
    })()
  })
  return { url: await listen(t, server), calls }
}

await t.test("AWS KMS makes data keys and opens them, by Amazon's own client", async (t) => {
  const { url, calls } = await startKms(t)
  const client = new KMSClient({
    endpoint: url,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    maxAttempts: 1,
  })
  t.after(() => client.destroy())
  await checkProvider(t, createAwsKmsProvider({ client, keyId: 'alias/parapet' }))
  t.ok(calls.includes('GenerateDataKey') && calls.includes('Decrypt') && calls.includes('Encrypt'))
  await t.rejects(createAwsKmsProvider({ client, keyId: 'alias/other' }).health())
})

const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'

await t.test('a PKCS#11 token wraps by a key that cannot leave it', async (t) => {
  const addon = await import('pkcs11js').catch(() => null)
  if (addon === null || !existsSync(SOFTHSM)) {
    const message = 'SoftHSM2 and the addon pkcs11js'
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(`no ${message}`)
    else t.pass(`needs ${message}`, { skip: 'not installed' })
    return
  }
  const folder = mkdtempSync(join(tmpdir(), 'parapet-hsm-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const conf = join(folder, 'softhsm2.conf')
  writeFileSync(conf, `directories.tokendir = ${folder}\nlog.level = ERROR\n`)
  process.env['SOFTHSM2_CONF'] = conf
  const init = ['--init-token', '--free', '--label', 'parapet', '--pin', '1234', '--so-pin', '5678']
  execFileSync('/usr/bin/softhsm2-util', init, { stdio: 'ignore' })
  const options = { library: SOFTHSM, tokenLabel: 'parapet', pin: '1234', keyLabel: 'root' }
  const missing = createPkcs11Provider(options)
  await t.rejects(missing.health(), code('INVALID_ARGUMENT'), 'no such key')
  const provider = createPkcs11Provider({ ...options, createKey: true })
  await checkProvider(t, provider)
  const many = await Promise.all(
    Array.from({ length: 20 }, (_, i) => provider.wrap(Buffer.alloc(32, i), { i: `${i}` })),
  )
  for (const [i, wrapped] of many.entries()) {
    t.equal((await provider.unwrap(wrapped, { i: `${i}` }))[0], i, 'operations take turns')
  }
  await provider.close()
  await t.rejects(
    createPkcs11Provider({ ...options, tokenLabel: 'other' }).health(),
    code('INVALID_ARGUMENT'),
  )
  t.same(provider.describe(), { id: 'pkcs11:parapet/root', exportable: false })
})
