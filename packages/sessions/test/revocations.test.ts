/** The list of revocations, with a store that fails when it is told to. */
import {
  createManualClock,
  createMemoryStore,
  type Store,
  type SubscriptionListener,
} from '@parapet/kit'
import t from 'tap'
import type { AccessToken } from '../src/access-tokens.ts'
import { createEpochs, isOver, tokenEpochsOf } from '../src/epochs.ts'
import { createRevocations } from '../src/revocations.ts'

const down = { code: 'TEST_DOWN' }
const id = (letter: string) => letter.repeat(22)

/** A store of several instances whose methods fail by name, and whose notices can be sent. */
function createFaulty() {
  const clock = createManualClock()
  const real = createMemoryStore({ clock })
  // A fleet that has begun; it outlives what any test waits for.
  void real.set('sessions:epoch', '1.0', 315_360_000_000)
  const failing = new Set<string>()
  const listeners: SubscriptionListener[] = []
  const store = new Proxy(real, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (failing.has(String(name))) return Promise.reject(Object.assign(new Error('down'), down))
        if (name === 'subscribe') listeners.push(args[1] as SubscriptionListener)
        return (value as (...given: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  return { store, real, clock, failing, listeners }
}

async function createList(
  { store, clock }: { store: Store; clock: ReturnType<typeof createManualClock> },
  maxMembers?: number,
) {
  const epochs = createEpochs(store, clock.now, 1_000_000)
  const settings = { store, epochs, clock, keepMs: 10_000 }
  const list = createRevocations(maxMembers === undefined ? settings : { ...settings, maxMembers })
  await list.start()
  return { list, epochs }
}

function token(more: Partial<AccessToken> = {}): AccessToken {
  return {
    tokenId: id('t'),
    sessionId: id('s'),
    user: { id: 'user 1', roles: [] },
    epochs: { user: 0, fleet: 1 },
    amr: ['pwd'],
    authenticatedAt: 0,
    issuedAt: 0,
    expiresAt: 1,
    ...more,
  }
}

/** Lets everything run that is under way. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
}

await t.test('a revocation is heard by all, and forgotten with the last token', async (t) => {
  const shared = createFaulty()
  const [a, b] = [await createList(shared), await createList(shared)]
  await a.list.add({ kind: 'token', id: id('t') })
  await settle()
  t.equal(b.list.isRevoked(token()), true)
  t.equal(b.list.isRevoked(token({ tokenId: id('u') })), false)
  shared.clock.advance(10_001)
  await a.list.add({ kind: 'session', id: id('x') })
  await settle()
  t.equal(b.list.isRevoked(token()), false, 'no token of that time is left')
})

await t.test('a user’s epoch makes older tokens stale, and newer ones not', async (t) => {
  const shared = createFaulty()
  const { list, epochs } = await createList(shared)
  const epoch = await epochs.advance('user 1', 'tokens')
  await list.add({ kind: 'user', id: 'user 1', epoch })
  t.equal(list.isRevoked(token()), true)
  t.equal(list.isRevoked(token({ epochs: { user: epoch, fleet: 1 } })), false)
  t.equal(list.isRevoked(token({ user: { id: 'user', roles: [] } })), false)
  const later = await epochs.advance('user 1', 'sessions')
  t.equal(later, epoch + 1, 'it grows, though the clock stands still')
  await list.add({ kind: 'user', id: 'user 1', epoch: later })
  await list.add({ kind: 'user', id: 'user 1', epoch })
  t.equal(list.isRevoked(token({ epochs: { user: epoch, fleet: 1 } })), true, 'and never shrinks')
  t.equal(isOver({ user: epoch, fleet: 1 }, await epochs.read('user 1')), true)
  t.same(tokenEpochsOf(await epochs.read('user 1')), { user: later, fleet: 1 })
})

await t.test('epochs opened at once are different ones', async (t) => {
  const { store, clock } = createFaulty()
  const epochs = createEpochs(store, clock.now, 1000)
  const opened = await Promise.all(Array.from({ length: 20 }, () => epochs.advance('u', 'tokens')))
  t.equal(new Set(opened).size, 20)
  await store.set('sessions:epoch:v', 'nonsense', 1000)
  await t.rejects(epochs.read('v'), { code: 'PARAPET_SESSIONS_UNAVAILABLE', statusCode: 503 })
})

await t.test('what could not be published is told as soon as it can be', async (t) => {
  const shared = createFaulty()
  const [a, b] = [await createList(shared), await createList(shared)]
  shared.failing.add('publish')
  await t.rejects(a.list.add({ kind: 'session', id: id('s') }), down)
  t.equal(a.list.isRevoked(token()), true, 'here it holds')
  await settle()
  t.equal(b.list.isRevoked(token()), false, 'nobody could be told')
  shared.clock.advance(500)
  await settle()
  t.equal(b.list.isRevoked(token()), false, 'nor the first time it was tried again')
  shared.failing.clear()
  shared.clock.advance(500)
  await settle()
  t.equal(b.list.isRevoked(token()), true)
})

await t.test(
  'while messages may be missing the store is asked; then all is read anew',
  async (t) => {
    const shared = createFaulty()
    const [a, b] = [await createList(shared), await createList(shared)]
    const [, ofB] = shared.listeners
    ofB!.interrupted('a test')
    t.equal(b.list.state, 'checked')
    t.equal(await b.list.askStore(token()), false)
    await shared.real.addMember('sessions:revocations', `s ${id('s')}`, {
      ttlMs: 1000,
      maxMembers: 10,
    })
    t.equal(await b.list.askStore(token()), true)
    t.equal(b.list.isRevoked(token()), false)
    shared.failing.add('hasMember')
    await t.rejects(b.list.askStore(token()), {
      code: 'PARAPET_SESSIONS_UNAVAILABLE',
      statusCode: 503,
    })

    shared.failing.add('members')
    ofB!.restored()
    await settle()
    t.equal(b.list.state, 'checked', 'what was missed could not be read')
    shared.failing.clear()
    shared.clock.advance(500)
    await settle()
    t.equal(b.list.state, 'pushed')
    t.equal(b.list.isRevoked(token()), true)
    t.equal(a.list.state, 'pushed', 'the other one heard of no gap')
  },
)

await t.test('a question to the store costs one deadline, however much is asked', async (t) => {
  const { store, clock } = createFaulty()
  const pending: { method: string; fail: (error: Error) => void }[] = []
  const hanging = new Proxy(store, {
    get(target, name) {
      if (name !== 'get' && name !== 'hasMember') return Reflect.get(target, name) as unknown
      return () => new Promise((_resolve, fail) => void pending.push({ method: name, fail }))
    },
  })
  const epochs = createEpochs(hanging, clock.now, 1000)
  const list = createRevocations({ store: hanging, epochs, clock, keepMs: 1000 })
  const asked = list.askStore(token())
  t.same(
    pending.map(({ method }) => method).toSorted(),
    ['get', 'get', 'hasMember', 'hasMember'],
    'all of it at once',
  )
  pending.at(-1)!.fail(new Error('too late'))
  await t.rejects(asked, { code: 'PARAPET_SESSIONS_UNAVAILABLE', statusCode: 503 })
  t.equal(pending.length, 4, 'the first that fails ends it, and nothing is asked again')
})

await t.test('an interruption during the reading is not forgotten', async (t) => {
  const shared = createFaulty()
  const { list } = await createList(shared)
  const [own] = shared.listeners
  own!.interrupted('a test')
  own!.restored()
  own!.interrupted('another')
  await settle()
  t.equal(list.state, 'checked')
  own!.restored()
  await settle()
  t.equal(list.state, 'pushed')
})

await t.test('an epoch of the fleet is read by whoever was not there', async (t) => {
  const shared = createFaulty()
  const { list, epochs } = await createList(shared)
  await list.add({ kind: 'fleet', epoch: await epochs.advance(null, 'tokens') })
  await shared.real.delete('sessions:revocations')
  const late = await createList(shared)
  t.equal(late.list.isRevoked(token()), true)
  t.equal(await late.list.askStore(token()), true)
})

await t.test('a full set is folded into one epoch, and nothing comes back to life', async (t) => {
  const shared = createFaulty()
  const [a, b] = [await createList(shared, 3), await createList(shared, 3)]
  const revoked = ['a', 'b', 'c', 'd'].map((letter) => token({ sessionId: id(letter) }))
  for (const { sessionId } of revoked) await a.list.add({ kind: 'session', id: sessionId })
  await settle()
  const late = await createList(shared, 3)
  for (const { list } of [a, b, late]) {
    t.same(
      revoked.map((each) => list.isRevoked(each)),
      [true, true, true, true],
    )
  }
  const fleet = (await a.epochs.readFleet()).tokens
  t.ok(fleet > 0)
  const fresh = token({ sessionId: id('z'), epochs: { user: 0, fleet } })
  t.equal(late.list.isRevoked(fresh), false, 'who refreshes goes on')
  t.ok((await shared.real.members('sessions:revocations')).length < 3)
})

await t.test('texts of strangers on the channel change nothing', async (t) => {
  const shared = createFaulty()
  const { list } = await createList(shared)
  for (const text of ['', 'a', 'a x', 'a NaN', 'u', 'u 1', 'u x user 1', 's short', 'x', 'a 1e9']) {
    await shared.real.publish('sessions:revocations', text)
  }
  await settle()
  t.equal(list.isRevoked(token()), false)
})

await t.test('a store that is down at the start is tried again, until the end', async (t) => {
  const shared = createFaulty()
  shared.failing.add('subscribe')
  const { list } = await createList(shared)
  t.equal(list.state, 'checked')
  shared.failing.clear()
  shared.clock.advance(500)
  await settle()
  t.equal(list.state, 'pushed')
  await list.stop()
  t.equal(list.state, 'checked')
  shared.failing.add('subscribe')
  const other = await createList(shared)
  await other.list.stop()
  shared.failing.clear()
  shared.clock.advance(500)
  await settle()
  t.equal(other.list.state, 'checked', 'nothing goes on after the end')
})

await t.test(
  'a store that lost its data learns the epochs again, and new tokens are good',
  async (t) => {
    const shared = createFaulty()
    const { list, epochs } = await createList(shared)
    const fleet = await epochs.advance(null, 'sessions')
    await list.add({ kind: 'fleet', epoch: fleet })
    const user = await epochs.advance('user 1', 'tokens')
    await list.add({ kind: 'user', id: 'user 1', epoch: user })
    for (const key of ['sessions:revocations', 'sessions:epoch', 'sessions:epoch:user 1']) {
      await shared.real.delete(key)
    }
    t.same(tokenEpochsOf(await epochs.read('user 1')), { user: 0, fleet: 0 })
    const [own] = shared.listeners
    own!.interrupted('the server lost its data')
    own!.restored()
    await settle()
    t.equal(list.state, 'pushed')
    const again = tokenEpochsOf(await epochs.read('user 1'))
    t.same(again, { user, fleet })
    t.equal(list.isRevoked(token({ epochs: again })), false, 'who logs in now gets in')
    t.equal(list.isRevoked(token()), true)
  },
)

await t.test('the epoch of the fleet outlives every session', async (t) => {
  const shared = createFaulty()
  const { list, epochs } = await createList(shared)
  await list.add({ kind: 'fleet', epoch: await epochs.advance(null, 'sessions') })
  shared.clock.advance(365 * 86_400_000)
  const fresh = token({ epochs: tokenEpochsOf(await epochs.read('user 1')) })
  t.equal(list.isRevoked(fresh), false)
})

await t.test('an instance that ends while it begins leaves no subscription', async (t) => {
  const shared = createFaulty()
  const { store, clock } = shared
  const epochs = createEpochs(store, clock.now, 1000)
  const list = createRevocations({ store, epochs, clock, keepMs: 1000 })
  const starting = list.start()
  await list.stop()
  await starting
  await shared.real.publish('sessions:revocations', `s ${id('s')}`)
  await settle()
  t.equal(list.isRevoked(token()), false)
  t.equal(list.state, 'checked')
})

await t.test('a store that is new, or has forgotten, believes no token of before', async (t) => {
  const shared = createFaulty()
  await shared.real.delete('sessions:epoch')
  const [a, b] = await Promise.all([createList(shared), createList(shared)])
  const before = token()
  t.equal(a.list.isRevoked(before), true)
  t.equal(await b.list.askStore(before), true)
  const now = token({ epochs: tokenEpochsOf(await a.epochs.read('user 1')) })
  t.equal(a.list.isRevoked(now) || b.list.isRevoked(now), false, 'and all begin in one epoch')

  await shared.real.delete('sessions:epoch')
  t.equal(await b.list.askStore(now), true, 'also before anybody has read it anew')
  t.equal((await createList(shared)).list.isRevoked(before), true)
})
