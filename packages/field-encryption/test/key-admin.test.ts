import { generateKeyPairSync } from 'node:crypto'
import {
  createMemoryKeyStore,
  fieldEncryption,
  verifyReceipt,
  type KeyStore,
} from '@parapet/field-encryption'
import { createMemoryStore, createRedisStore, type Store } from '@parapet/kit'
import { useRedis } from '@parapet/testing'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import { buildManaged, code, Note, readSpec, receiptKeys, watchProvider } from './fixtures.ts'

await t.test('after a rotation old rows are readable and new rows use the new key', async (t) => {
  const { notes, service, clock, events, state } = await buildManaged(t)
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
  t.equal(values[0]!.length, 2, 'the tokens of both keys are searched')
  t.ok(values[0]!.includes(old['text_idx'] as string))
  const inUse = code('KEY_IN_USE', 409)
  await t.rejects(service.rotate(), inUse, 'the last rotation is not finished')
  await t.rejects(service.retire(report.primaryKeyId), inUse, 'it is the primary key')
  await t.rejects(service.retire(report.previousKeyId), inUse, 'an instance may still seal with it')
  t.equal((await service.keyStatus())?.settled, false)
  clock.advance(600_001)
  t.strictSame((await service.keyStatus())?.settled, true)
  await service.retire(report.previousKeyId)
  await t.rejects(notes.decryptRecord(old), code('OPEN_FAILED'), 'its key is destroyed')
  t.equal((await notes.decryptRecord(fresh)).text, 'new')
  await service.rotate()
  t.ok(state.wraps >= 3)
})

await t.test(
  "a tenant's rotation rewraps the keys of its subjects before the old key is retired",
  async (t) => {
    const { mine, service, clock, keyStore } = await buildManaged(t)
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

await t.test('forget makes all rows of a subject unreadable, and no others', async (t) => {
  const { mine, service, events } = await buildManaged(t)
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
    { type: 'field_encryption.created', details: { tenant: '' } },
    { type: 'field_encryption.forgotten', resourceId: 'ann', details: { reason: 'gdpr-17' } },
  ])
  const stated = verifyReceipt(receipt, receiptKeys.publicKey)
  t.match(stated, { tenant: '', subject: 'ann', reason: 'gdpr-17', iat: 1_700_000_000 })
  t.equal(stated!.keyIds.length, 1)
  const again = await service.forget({ subject: 'ann', reason: 'gdpr-17' })
  t.match(verifyReceipt(again, receiptKeys.publicKey), { iat: 1_700_000_000, keyIds: [] })
  const unknown = await service.forget({ subject: 'never seen', reason: 'gdpr-17' })
  t.strictSame(verifyReceipt(unknown, receiptKeys.publicKey)?.keyIds, [], 'it certifies no keys')
  await t.rejects(mine.encryptRecord({ id: '3', user: 'never seen', text: 'x' }), gone)
})

await t.test('a changed receipt, or one of another key, is refused', async (t) => {
  const { service } = await buildManaged(t)
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

await t.test('a legal hold prevents forget until it is released', async (t) => {
  const { mine, service } = await buildManaged(t)
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

await t.test('without receiptKey forget refuses and destroys nothing', async (t) => {
  const { provider } = watchProvider()
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
  const one = await buildManaged(t, { store: stores[0]! })
  const two = await buildManaged(t, {
    store: stores[1]!,
    provider: one.provider,
    keyStore: one.keyStore,
  })
  const row = await one.mine.encryptRecord({ id: '1', user: 'ann', text: 'a' })
  t.equal((await two.mine.decryptRecord(row)).text, 'a', 'both instances have cached the keys')
  const received = new Promise<void>((resolve) => {
    void stores[1]!.subscribe('field-encryption:keys', {
      message: () => resolve(),
      interrupted: () => {},
      restored: () => {},
    })
  })
  const start = performance.now()
  await one.service.forget({ subject: 'ann', reason: 'gdpr-17' })
  await received
  // The clock did not advance, so the keys were dropped by the message and not by their age.
  await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
  const taken = Math.round(performance.now() - start)
  t.comment(`${taken} ms`)
  if (process.env['PARAPET_SOAK'] === '1') t.ok(taken < 1000, 'under a second')
})

await t.test('a change that could not be announced is retried until it succeeds', async (t) => {
  const real = createMemoryStore()
  t.after(() => real.close())
  let down = true
  let tries = 0
  const flaky: Pick<Store, 'publish' | 'subscribe'> = {
    async publish(...args) {
      tries++
      if (down) throw new Error('this instance cannot publish')
      return real.publish(...args)
    },
    subscribe: (...args) => real.subscribe(...args),
  }
  const one = await buildManaged(t, { store: flaky as Store })
  const two = await buildManaged(t, { store: real, provider: one.provider, keyStore: one.keyStore })
  const people = ['ann', 'bob'].map((user) => ({ id: user, user, text: user }))
  const rows = (await one.mine.encryptMany(people)) as [object, object]
  await two.mine.decryptMany(rows)
  for (const subject of ['ann', 'bob']) await one.service.forget({ subject, reason: 'x' })
  one.clock.advance(1000)
  await new Promise(setImmediate)
  t.equal(tries, 3, 'the second change waits for the first')
  down = false
  one.clock.advance(1000)
  await new Promise(setImmediate)
  for (const row of rows) await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
  one.clock.advance(60_000)
  await new Promise(setImmediate)
  t.equal(tries, 5, 'it is not announced again')
})

await t.test('an error of the key store is the cause of a 503 and not its message', async (t) => {
  const real = createMemoryKeyStore()
  const broken: KeyStore = {
    ...real,
    get: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:5432')),
  }
  const { service } = await buildManaged(t, { keyStore: broken })
  const calls: (() => Promise<unknown>)[] = [
    () => service.rotate(),
    () => service.retire(7),
    () => service.forget({ subject: 'ann', reason: 'x' }),
    () => service.hold({ subject: 'ann', reason: 'x' }),
    () => service.release({ subject: 'ann' }),
    () => service.keyStatus(),
  ]
  for (const call of calls) {
    const error = await t.rejects(call(), code('KEY_UNAVAILABLE', 503))
    t.match(error, { message: 'The encryption key is unavailable', cause: /ECONNREFUSED/ })
  }
})

await t.test('the vectors of docs/spec/erasure-receipt.md pass', async (t) => {
  const { publicKey, cases } = readSpec<{
    publicKey: string
    cases: { name: string; receipt: string; payload?: object }[]
  }>('erasure-receipt')
  for (const { name, receipt, payload } of cases) {
    t.strictSame(verifyReceipt(receipt, publicKey), payload ?? null, name)
  }
})
