import {
  createLocalProvider,
  createMemoryKeyStore,
  exportKeyset,
  generateKeyset,
  type KeyStore,
} from '@parapet/field-encryption'
import { createManualClock } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { buildManaged, code, Note, rootKeyset } from './fixtures.ts'

/** A key store whose `get` can be made to hang, and whose records can be lost. */
function watched() {
  const store = createMemoryKeyStore()
  const state = { hangs: false, reads: 0, inserts: 0, lost: null as string | null }
  const keyStore: KeyStore = {
    ...store,
    async get(tenant, subjects) {
      state.reads++
      if (state.hangs) return new Promise<never>(() => {})
      const found = await store.get(tenant, subjects)
      return found.filter(({ subject }) => state.lost !== tenant || subject !== '')
    },
    async insert(record) {
      state.inserts++
      return store.insert(record)
    },
    first: async () => (state.hangs ? new Promise<never>(() => {}) : store.first!()),
  }
  return { state, keyStore }
}

/** Lets promises run until they wait for the clock. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

await t.test('while the key store hangs, only the first call waits for it', async (t) => {
  const { state, keyStore } = watched()
  const cache = { maxAgeMs: 1000, maxStaleMs: 60_000 }
  const { mine, clock, events } = await buildManaged(t, { keyStore, cache, deadlineMs: 500 })
  const row = await mine.encryptRecord({ id: '1', user: 'ann', text: 'x' })
  clock.advance(1000)
  state.hangs = true
  const first = mine.decryptRecord(row)
  for (let wait = 0; wait < 4; wait++) {
    await settle()
    clock.advance(500)
  }
  t.equal((await first).text, 'x')
  for (let call = 0; call < 6; call++) {
    t.equal((await mine.decryptRecord(row)).text, 'x', 'without a turn of the clock')
    clock.advance(700)
    await settle()
  }
  const served = events.filter(({ type }) => type === 'field_encryption.key_unavailable')
  t.ok(served.length > 0 && served.every(({ details }) => 'served' in details && details.served))
  state.hangs = false
  clock.advance(2000)
  await mine.decryptRecord(row)
  await settle()
  clock.advance(60_000)
  t.equal((await mine.decryptRecord(row)).text, 'x', 'keys were reloaded behind')
})

await t.test('a search and a question create no keys', async (t) => {
  const { state, keyStore } = watched()
  const { notes, service, state: provider, app } = await buildManaged(t, { keyStore })
  for (const dialect of ['postgres', 'mysql', 'sqlite'] as const) {
    const found = await notes.where('text', 'x', { tenant: 'ghost', dialect })
    t.strictSame(found.tokens, ['-'], 'it matches no token')
  }
  await t.rejects(notes.where('text', 1, { tenant: 'ghost' }), code('INVALID_ARGUMENT'))
  t.equal(await service.keyStatus({ tenant: 'ghost' }), null)
  t.equal(await service.keyStatus({ tenant: 'ghost', subject: 'ann' }), null)
  const source = { read: async () => [], cursorOf: () => '', write: async () => true }
  t.match(await notes.status({ source, tenant: 'ghost' }), { rows: 0, safeToDestroy: [] })
  t.equal(state.inserts, 0)
  t.equal(provider.wraps, 0)
  const Shop = Type.Object({ id: Type.String(), org: Type.String(), text: Note.properties.text })
  const shops = app.fieldEncryption.table('shops', Shop, { tenant: 'org' })
  await t.rejects(shops.where('text', 'x'), code('INVALID_ARGUMENT'), 'the table has tenants')
})

await t.test('keys of a tenant that were lost are not replaced', async (t) => {
  const { state, keyStore } = watched()
  const { mine, notes, events, clock, state: provider } = await buildManaged(t, { keyStore })
  const scope = { tenant: 'acme' }
  await mine.encryptRecord({ id: '1', user: 'ann', text: 'x' }, scope)
  t.match(events, [{ type: 'field_encryption.created', details: scope }])
  clock.advance(700_000)
  state.lost = 'acme'
  const { wraps } = provider
  await t.rejects(notes.encryptRecord({ id: '2', text: 'y' }, scope), code('KEY_UNAVAILABLE', 503))
  t.equal(provider.wraps, wraps)
  t.match(events.at(-1), { type: 'field_encryption.key_unavailable', details: { served: false } })
  state.lost = null
  clock.advance(1000)
  await t.resolves(notes.encryptRecord({ id: '2', text: 'y' }, scope))
})

await t.test('health checks the key store and the root key', async (t) => {
  const { state, keyStore } = watched()
  const { service, notes, clock } = await buildManaged(t, { keyStore })
  await t.resolves(service.health(), 'an empty key store')
  await notes.encryptRecord({ id: '1', text: 'x' }, { tenant: 'acme' })
  await t.resolves(service.health())
  const wrongRoot = createLocalProvider({ keyset: exportKeyset(generateKeyset()) })
  const wrong = await buildManaged(t, { keyStore, provider: wrongRoot })
  const unavailable = code('KEY_UNAVAILABLE', 503)
  await t.rejects(wrong.service.health(), unavailable)
  const { inserts } = state
  const scope = { tenant: 'new' }
  await t.rejects(wrong.notes.encryptRecord({ id: '1', text: 'x' }, scope), unavailable)
  t.equal(state.inserts, inserts, 'no tenant is written under a second root key')
  state.hangs = true
  const health = service.health()
  await settle()
  clock.advance(5000)
  await t.rejects(health, unavailable)
})

await t.test('a wall clock that is set back does not keep cached keys', async (t) => {
  const { keyStore } = watched()
  const manual = createManualClock()
  const wall = { back: 0 }
  const clock = { ...manual, now: () => manual.now() - wall.back, monotonic: () => manual.now() }
  const provider = createLocalProvider({ keyset: rootKeyset })
  const cache = { maxAgeMs: 1000, maxStaleMs: 0 }
  const one = await buildManaged(t, { keyStore, provider })
  const two = await buildManaged(t, { keyStore, provider, clock, cache })
  const row = await one.mine.encryptRecord({ id: '1', user: 'ann', text: 'x' })
  t.equal((await two.mine.decryptRecord(row)).text, 'x')
  wall.back = 86_400_000
  await one.service.forget({ subject: 'ann', reason: 'gdpr-17' })
  manual.advance(1000)
  await t.rejects(two.mine.decryptRecord(row), code('FORGOTTEN', 410))
})
