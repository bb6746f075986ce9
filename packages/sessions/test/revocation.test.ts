/** The revocation list, with a store whose methods can fail. */
import {
  createManualClock,
  createMemoryStore,
  type Store,
  type SubscriptionListener,
} from '@parapet/kit'
import t from 'tap'
import type { AccessToken } from '../src/tokens/access-token.ts'
import { hasEnded, tokenEpochsOf } from '../src/revocation/epoch.ts'
import { createEpochs } from '../src/revocation/epochs.ts'
import { createRevocationList } from '../src/revocation/revocation-list.ts'

const down = { code: 'TEST_DOWN' }
const id = (letter: string) => letter.repeat(22)

const FOREVER = { ttlMs: 315_360_000_000, maxMembers: 100 }

/** A store for several instances: methods fail by name, and subscriptions can be interrupted. */
function createFaulty() {
  const clock = createManualClock()
  const real = createMemoryStore({ clock })
  // The epoch of a fleet that has started; it outlives every test.
  void real.set('sessions:epoch', '1.0', 315_360_000_000)
  void real.addMember('sessions:revocations', 'complete', FOREVER)
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
  const list = createRevocationList(
    maxMembers === undefined ? settings : { ...settings, maxMembers },
  )
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

/** Waits until all pending work has run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
}

await t.test(
  'every instance learns of a revocation, and drops it after the last token has expired',
  async (t) => {
    const shared = createFaulty()
    const [a, b] = [await createList(shared), await createList(shared)]
    await a.list.add({ kind: 'token', id: id('t') })
    await settle()
    t.equal(b.list.isRevoked(token()), true)
    t.equal(b.list.isRevoked(token({ tokenId: id('u') })), false)
    shared.clock.advance(10_001)
    await a.list.add({ kind: 'session', id: id('x') })
    await settle()
    t.equal(b.list.isRevoked(token()), false, 'all tokens of that time have expired')
  },
)

await t.test('a new epoch of a user revokes older tokens, but not newer ones', async (t) => {
  const shared = createFaulty()
  const { list, epochs } = await createList(shared)
  const epoch = await epochs.advance('user 1', 'tokens')
  await list.add({ kind: 'user', id: 'user 1', epoch })
  t.equal(list.isRevoked(token()), true)
  t.equal(list.isRevoked(token({ epochs: { user: epoch, fleet: 1 } })), false)
  t.equal(list.isRevoked(token({ user: { id: 'user', roles: [] } })), false)
  const later = await epochs.advance('user 1', 'sessions')
  t.equal(later, epoch + 1, 'the epoch grows even if the clock does not')
  await list.add({ kind: 'user', id: 'user 1', epoch: later })
  await list.add({ kind: 'user', id: 'user 1', epoch })
  t.equal(
    list.isRevoked(token({ epochs: { user: epoch, fleet: 1 } })),
    true,
    'and an older message does not lower it',
  )
  t.equal(hasEnded(id('s'), { user: epoch, fleet: 1 }, await epochs.read('user 1')), true)
  t.same(tokenEpochsOf(await epochs.read('user 1')), { user: later, fleet: 1 })
})

await t.test('concurrently started epochs are different', async (t) => {
  const { store, clock } = createFaulty()
  const epochs = createEpochs(store, clock.now, 1000)
  const opened = await Promise.all(Array.from({ length: 20 }, () => epochs.advance('u', 'tokens')))
  t.equal(new Set(opened).size, 20)
  await store.set('sessions:epoch:v', 'nonsense', 1000)
  await t.rejects(epochs.read('v'), { code: 'PARAPET_SESSIONS_UNAVAILABLE', statusCode: 503 })
})

await t.test('a revocation that could not be published is published later', async (t) => {
  const shared = createFaulty()
  const [a, b] = [await createList(shared), await createList(shared)]
  shared.failing.add('publish')
  await t.rejects(a.list.add({ kind: 'session', id: id('s') }), down)
  t.equal(a.list.isRevoked(token()), true, 'it is revoked on this instance')
  await settle()
  t.equal(b.list.isRevoked(token()), false, 'the other instance does not know yet')
  shared.clock.advance(500)
  await settle()
  t.equal(b.list.isRevoked(token()), false, 'nor after the first retry')
  shared.failing.clear()
  shared.clock.advance(500)
  await settle()
  t.equal(b.list.isRevoked(token()), true)
})

await t.test(
  'while messages may be missing the store is asked, and then everything is loaded again',
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
    t.equal(b.list.state, 'checked', 'the missed revocations could not be loaded')
    shared.failing.clear()
    shared.clock.advance(500)
    await settle()
    t.equal(b.list.state, 'pushed')
    t.equal(b.list.isRevoked(token()), true)
    t.equal(a.list.state, 'pushed', 'the other instance missed nothing')
  },
)

await t.test('asking the store takes at most one deadline', async (t) => {
  const { store, clock } = createFaulty()
  const pending: { method: string; fail: (error: Error) => void }[] = []
  const hanging = new Proxy(store, {
    get(target, name) {
      if (name !== 'get' && name !== 'hasMember') return Reflect.get(target, name) as unknown
      return () => new Promise((_resolve, fail) => void pending.push({ method: name, fail }))
    },
  })
  const epochs = createEpochs(hanging, clock.now, 1000)
  const list = createRevocationList({ store: hanging, epochs, clock, keepMs: 1000 })
  const asked = list.askStore(token())
  t.same(
    pending.map(({ method }) => method).toSorted(),
    ['get', 'get', 'hasMember', 'hasMember'],
    'all calls are concurrent',
  )
  pending.at(-1)!.fail(new Error('too late'))
  await t.rejects(asked, { code: 'PARAPET_SESSIONS_UNAVAILABLE', statusCode: 503 })
  t.equal(pending.length, 4, 'the first failure ends it, without a retry')
})

await t.test('an interruption while loading is not overlooked', async (t) => {
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

await t.test('an instance that starts later loads the epoch of the fleet', async (t) => {
  const shared = createFaulty()
  const { list, epochs } = await createList(shared)
  await list.add({ kind: 'fleet', epoch: await epochs.advance(null, 'tokens') })
  await shared.real.delete('sessions:revocations')
  const late = await createList(shared)
  t.equal(late.list.isRevoked(token()), true)
  t.equal(await late.list.askStore(token()), true)
})

await t.test('one epoch replaces a full set, and every revoked token stays revoked', async (t) => {
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
  t.equal(late.list.isRevoked(fresh), false, 'a token issued afterwards is valid')
  t.ok((await shared.real.members('sessions:revocations')).length < 3)
})

await t.test('malformed messages on the channel are ignored', async (t) => {
  const shared = createFaulty()
  const { list } = await createList(shared)
  for (const text of ['', 'a', 'a x', 'a NaN', 'u', 'u 1', 'u x user 1', 's short', 'x', 'a 1e9']) {
    await shared.real.publish('sessions:revocations', text)
  }
  await settle()
  t.equal(list.isRevoked(token()), false)
})

await t.test('a store that is down at the start is retried until stop', async (t) => {
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
  t.equal(other.list.state, 'checked', 'nothing runs after stop')
})

await t.test('epochs are written back into a store that lost its data', async (t) => {
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
  t.equal(list.isRevoked(token({ epochs: again })), false, 'a new token is valid')
  t.equal(list.isRevoked(token()), true)
})

await t.test('the epoch of the fleet outlives every session', async (t) => {
  const shared = createFaulty()
  const { list, epochs } = await createList(shared)
  await list.add({ kind: 'fleet', epoch: await epochs.advance(null, 'sessions') })
  shared.clock.advance(365 * 86_400_000)
  const fresh = token({ epochs: tokenEpochsOf(await epochs.read('user 1')) })
  t.equal(list.isRevoked(fresh), false)
})

await t.test('an instance that stops while it starts leaves no subscription', async (t) => {
  const shared = createFaulty()
  const { store, clock } = shared
  const epochs = createEpochs(store, clock.now, 1000)
  const list = createRevocationList({ store, epochs, clock, keepMs: 1000 })
  const starting = list.start()
  await list.stop()
  await starting
  await shared.real.publish('sessions:revocations', `s ${id('s')}`)
  await settle()
  t.equal(list.isRevoked(token()), false)
  t.equal(list.state, 'checked')
})

await t.test('with a store that is new or lost its data, older tokens are revoked', async (t) => {
  const shared = createFaulty()
  await shared.real.delete('sessions:epoch')
  const [a, b] = await Promise.all([createList(shared), createList(shared)])
  const before = token()
  t.equal(a.list.isRevoked(before), true)
  t.equal(await b.list.askStore(before), true)
  const now = token({ epochs: tokenEpochsOf(await a.epochs.read('user 1')) })
  t.equal(
    a.list.isRevoked(now) || b.list.isRevoked(now),
    false,
    'and all instances start in the same epoch',
  )

  await shared.real.delete('sessions:epoch')
  const unavailable = { code: 'PARAPET_SESSIONS_UNAVAILABLE', statusCode: 503 }
  await t.rejects(b.list.askStore(now), unavailable, 'until the lost data are written back')
  t.equal((await createList(shared)).list.isRevoked(before), true)
})
