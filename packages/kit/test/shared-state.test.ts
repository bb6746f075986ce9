import {
  conflict,
  createManualClock,
  createMemoryStore,
  followSharedState,
  resealAll,
  retryConflicts,
  updateText,
  type SharedStateSettings,
  type Store,
  type SubscriptionListener,
} from '@parapet/kit'
import t, { type Test } from 'tap'

const exhausted = (): Error => new Error('exhausted')
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A store whose subscription and publications a test can break. */
class BreakableStore implements Pick<Store, 'subscribe' | 'publish'> {
  listener: SubscriptionListener | undefined
  subscriptions = 0
  isDown = false
  readonly published: string[] = []

  async subscribe(_channel: string, listener: SubscriptionListener): Promise<() => Promise<void>> {
    if (this.isDown) throw new Error('down')
    this.subscriptions++
    this.listener = listener
    return async () => {
      this.listener = undefined
    }
  }

  async publish(_channel: string, message: string): Promise<void> {
    if (this.isDown) throw new Error('down')
    this.published.push(message)
  }
}

function build(t: Test, overrides: Partial<SharedStateSettings> = {}) {
  const store = new BreakableStore()
  const clock = createManualClock()
  const received: string[] = []
  const states: boolean[] = []
  const errors: string[] = []
  const loads: { resolve: () => void; reject: (error: Error) => void }[] = []
  const state = followSharedState({
    store,
    channel: 'x',
    clock,
    load: () =>
      new Promise((resolve, reject) => {
        loads.push({ resolve, reject })
      }),
    receive: (message) => {
      if (message === 'bad') throw new Error('bad message')
      received.push(message)
    },
    onStateChange: (isCurrent) => states.push(isCurrent),
    onError: (error) => errors.push((error as Error).message),
    ...overrides,
  })
  t.after(() => state.stop())
  return { store, clock, received, states, errors, loads, state }
}

await t.test('the copy is current once it is subscribed and loaded', async (t) => {
  const { state, store, loads, states, received } = build(t)
  t.equal(state.isCurrent, false)
  const started = state.start()
  await settle()
  t.equal(state.isCurrent, false, 'subscribed, not loaded')
  loads[0]!.resolve()
  await started
  t.equal(state.isCurrent, true)
  store.listener!.message('change')
  t.strictSame(received, ['change'])
  t.strictSame(states, [true])
})

await t.test('a store that hangs does not keep a follower from stopping', async (t) => {
  const clock = createManualClock()
  const state = followSharedState({
    store: {
      publish: async () => {},
      subscribe: async () => () => new Promise(() => {}),
    },
    channel: 'x',
    clock,
    load: async () => {},
    receive: () => {},
  })
  await state.start()
  const stopped = state.stop()
  await settle()
  clock.advance(2000)
  await stopped
  t.equal(state.isCurrent, false)
})

await t.test('an interruption ends trust until everything was loaded again', async (t) => {
  const { state, store, loads, states } = build(t)
  void state.start()
  await settle()
  loads[0]!.resolve()
  await settle()
  store.listener!.interrupted('test')
  t.equal(state.isCurrent, false)
  store.listener!.restored()
  await settle()
  t.equal(state.isCurrent, false)
  loads[1]!.resolve()
  await settle()
  t.strictSame(states, [true, false, true])
})

await t.test('a load that began before an interruption does not restore trust', async (t) => {
  const { state, store, loads } = build(t)
  void state.start()
  await settle()
  store.listener!.interrupted('test')
  store.listener!.restored()
  loads[0]!.resolve()
  await settle()
  t.equal(state.isCurrent, false)
  loads[1]!.resolve()
  await settle()
  t.equal(state.isCurrent, true)
  store.listener!.interrupted('test')
  void state.reload()
  await settle()
  loads[2]!.resolve()
  await settle()
  t.equal(state.isCurrent, false, 'still interrupted')
})

await t.test('a start that fails goes on in the background', async (t) => {
  const { state, store, clock, loads, errors } = build(t)
  store.isDown = true
  await state.start()
  t.strictSame(errors, ['down'])
  clock.advance(500)
  await settle()
  t.strictSame(errors, ['down', 'down'])
  store.isDown = false
  clock.advance(500)
  await settle()
  loads[0]!.reject(new Error('load failed'))
  await settle()
  t.equal(state.isCurrent, false)
  clock.advance(500)
  await settle()
  loads[1]!.resolve()
  await settle()
  t.equal(state.isCurrent, true)
  t.equal(store.subscriptions, 1)
  t.strictSame(errors, ['down', 'down', 'load failed'])
})

await t.test('callers during a load share one load that starts after it', async (t) => {
  const { state, loads } = build(t)
  const first = state.reload()
  const second = state.reload()
  const third = state.reload()
  t.equal(loads.length, 1)
  loads[0]!.reject(new Error('first failed'))
  await t.rejects(first, { message: 'first failed' })
  await settle()
  t.equal(loads.length, 2)
  loads[1]!.resolve()
  await Promise.all([second, third])
  t.equal(loads.length, 2)
})

await t.test(
  'a change that cannot be shared is shared again until it no longer matters',
  async (t) => {
    const { state, store, clock, loads } = build(t)
    void state.start()
    await settle()
    loads[0]!.resolve()
    await settle()
    store.isDown = true
    await t.rejects(state.announce('short', 700), { message: 'down' })
    await t.rejects(state.announce('long'), { message: 'down' })
    clock.advance(500)
    await settle()
    t.strictSame(store.published, [])
    store.isDown = false
    clock.advance(500)
    await settle()
    t.strictSame(store.published, ['long'])
    await state.announce('now')
    clock.advance(5000)
    await settle()
    t.strictSame(store.published, ['long', 'now'])
  },
)

await t.test('without a store the copy is loaded every refreshMs', async (t) => {
  const { state, clock, loads } = build(t, { store: undefined, refreshMs: 1000 })
  void state.start()
  await settle()
  loads[0]!.resolve()
  await settle()
  t.equal(state.isCurrent, true)
  clock.advance(999)
  await settle()
  t.equal(loads.length, 1)
  clock.advance(1)
  await settle()
  t.equal(loads.length, 2)
  loads[1]!.reject(new Error('x'))
  await settle()
  t.equal(state.isCurrent, false)
  await state.announce('nowhere')
})

await t.test('a message that receive rejects is reported and the rest goes on', async (t) => {
  const { state, store, loads, received, errors } = build(t)
  void state.start()
  await settle()
  loads[0]!.resolve()
  await settle()
  store.listener!.message('bad')
  store.listener!.message('good')
  t.strictSame(received, ['good'])
  t.strictSame(errors, ['bad message'])
})

await t.test('stop ends subscription and timers, also during a start', async (t) => {
  const { state, store, clock, loads, states } = build(t, { refreshMs: 1000 })
  const started = state.start()
  await state.stop()
  await settle()
  for (const load of loads) load.resolve()
  await started
  clock.advance(10_000)
  await settle()
  t.equal(state.isCurrent, false)
  t.equal(store.listener, undefined)
  t.ok(loads.length <= 1)
  t.strictSame(states, [])
})

await t.test('an edit wins against concurrent writers, and none is lost', async (t) => {
  const store = createMemoryStore({ clock: createManualClock() })
  const add = () =>
    updateText(
      store,
      'n',
      (text) => ({ next: String(Number(text ?? 0) + 1), ttlMs: 1000, result: Number(text ?? 0) }),
      exhausted,
    )
  const results = await Promise.all(Array.from({ length: 30 }, add))
  t.equal(await store.get('n'), '30')
  t.strictSame(
    results.toSorted((a, b) => a - b),
    Array.from({ length: 30 }, (_, index) => index),
  )
})

await t.test('an edit may change nothing, or delete', async (t) => {
  const store = createMemoryStore({ clock: createManualClock() })
  t.equal(await updateText(store, 'k', () => ({ result: 1 }), exhausted), 1)
  await store.set('k', 'v', 1000)
  await updateText(store, 'k', () => ({ next: null, ttlMs: 1, result: undefined }), exhausted)
  t.equal(await store.get('k'), null)
})

await t.test('64 conflicts in a row end with the given error', async (t) => {
  let attempts = 0
  const always = async (): Promise<typeof conflict> => {
    attempts++
    return conflict
  }
  await t.rejects(retryConflicts(always, exhausted), { message: 'exhausted' })
  t.equal(attempts, 64)
  await t.rejects(
    retryConflicts(async () => {
      throw new Error('broken')
    }, exhausted),
    { message: 'broken' },
  )
})

await t.test('records are sealed page by page, and unreadable ones are counted', async (t) => {
  const ids = Array.from({ length: 200 }, (_, at) => String(1000 + at))
  const pages: (string | null)[] = []
  const list = async (after: string | null, limit: number): Promise<string[]> => {
    pages.push(after)
    return ids.filter((id) => after === null || id > after).slice(0, limit)
  }
  const unreadable = new Error('unreadable')
  const isUnreadable = (error: unknown): boolean => error === unreadable
  const reseal = async (id: string): Promise<boolean> => {
    if (id === '1001') throw unreadable
    return id !== '1000'
  }
  const found = await resealAll({ list, reseal, isUnreadable })
  t.same(found, { accounts: 200, resealed: 198, unreadable: 1 })
  t.same(pages, [null, '1099', '1199'], 'a full last page is followed by an empty one')
  const broken = resealAll({ list, reseal, isUnreadable: () => false })
  await t.rejects(broken, { message: 'unreadable' })
})
