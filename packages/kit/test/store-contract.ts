/** What every store must do; run on the memory store, on Redis and on a Redis Cluster. */
import type { Store } from '@parapet/kit'
import fc from 'fast-check'
import type { Test } from 'tap'

/** A store and its clock. */
export interface StoreUnderTest {
  readonly store: Store
  readonly now: () => number
  /** Moves the clock, and with it every expiry, forward. */
  readonly advance: (ms: number) => Promise<void>
}

export async function storeContract(t: Test, open: (t: Test) => Promise<StoreUnderTest | null>) {
  await text(t, open)
  await counters(t, open)
  await collections(t, open)
  await messages(t, open)
  await misuse(t, open)
}

type Open = (t: Test) => Promise<StoreUnderTest | null>

async function text(t: Test, open: Open) {
  await t.test('a text exists until its time to live has passed', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, advance } = under
    t.equal(await store.get('k'), null)
    await store.set('k', 'one', 1000)
    await advance(900)
    t.equal(await store.get('k'), 'one')
    await advance(100)
    t.equal(await store.get('k'), null)
    await store.set('k', '', 1000)
    t.equal(await store.get('k'), '', 'an empty text is not an absent one')
    await store.set('k', 'ñ 日本 🦜 \0 end', 1000)
    t.equal(await store.get('k'), 'ñ 日本 🦜 \0 end')
    t.equal(await store.delete('k'), true)
    t.equal(await store.delete('k'), false)
  })

  await t.test('of a hundred concurrent callers one sets, one takes and one swaps', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, advance } = under
    const callers = Array.from({ length: 100 }, (_, index) => `caller ${index}`)
    const set = await Promise.all(callers.map((caller) => store.setIfAbsent('k', caller, 1000)))
    t.equal(set.filter(Boolean).length, 1)
    const winner = callers[set.indexOf(true)]!
    t.equal(await store.get('k'), winner)
    const swapped = await Promise.all(
      callers.map((caller) => store.compareAndSet('k', winner, `next ${caller}`, 1000)),
    )
    t.equal(swapped.filter(Boolean).length, 1)
    const taken = await Promise.all(callers.map(() => store.getAndDelete('k')))
    t.strictSame(
      taken.filter((value) => value !== null),
      [`next ${callers[swapped.indexOf(true)]!}`],
    )
    t.equal(await store.setIfAbsent('k', 'again', 1000), true)
    await advance(1000)
    t.equal(await store.setIfAbsent('k', 'after expiry', 1000), true)
  })

  await t.test('compare-and-set handles absent keys, and deletes', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, advance } = under
    t.equal(await store.compareAndSet('k', 'x', 'y', 1000), false)
    t.equal(await store.compareAndSet('k', null, '', 1000), true)
    t.equal(await store.compareAndSet('k', null, 'y', 1000), false, 'an empty text is not absent')
    t.equal(await store.compareAndSet('k', '', 'y', 5000), true)
    await advance(1000)
    t.equal(await store.get('k'), 'y', 'the time to live is that of the swap')
    t.equal(await store.compareAndSet('k', 'y', null, 1000), true)
    t.equal(await store.get('k'), null)
  })
}

async function counters(t: Test, open: Open) {
  await t.test('a counter counts in all windows or in none', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    const windows = [
      { windowMs: 1000, limit: 5 },
      { windowMs: 60_000, limit: 7 },
    ]
    for (let n = 1; n <= 5; n++) t.match(await store.count('k', windows), { counted: true })
    const refused = await store.count('k', windows)
    t.match(refused, { counted: false, windows: [{ count: 5 }, { count: 5 }] })
    t.match(await store.count('k', windows, 0), { counted: true, windows: [{ count: 5 }, {}] })
    t.match(await store.count('k', [{ windowMs: 60_000 }], 100), {
      counted: true,
      windows: [{ count: 105, retryAfterMs: 0 }],
    })
    t.match(await store.count('k', [{ windowMs: 60_000, limit: 10 }], 11), {
      counted: false,
      windows: [{ retryAfterMs: Infinity }],
    })
  })

  await t.test('no limit is exceeded at the edge of a bucket', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, now, advance } = under
    const windows = [{ windowMs: 1000, limit: 10 }]
    await advance(999 - (now() % 1000))
    t.match(await store.count('k', windows, 10), { counted: true })
    await advance(1)
    t.match(await store.count('k', windows), { counted: false, windows: [{ count: 10 }] })
    await advance(500)
    t.match(await store.count('k', windows, 0), { windows: [{ count: 5, resetMs: 500 }] })
    await advance(500)
    t.match(await store.count('k', windows, 0), { windows: [{ count: 0, resetMs: 0 }] })
  })

  await t.test('retryAfterMs is the first moment at which it fits', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, advance } = under
    let key = 0
    const step = fc.record({
      wait: fc.integer({ min: 0, max: 90_000 }),
      amount: fc.integer({ min: 1, max: 6 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const name = `retry-${key++}`
        const windows = [{ windowMs: 50_000, limit: 6 }]
        for (const { wait, amount } of steps) {
          await advance(wait)
          await store.count(name, windows, amount)
        }
        // Half the limit: the rest lives longer in Redis than a slow machine takes to read it.
        const refused = await store.count(name, windows, 3)
        const { retryAfterMs } = refused.windows[0]!
        if (refused.counted) return
        if (retryAfterMs > 1) {
          await advance(retryAfterMs - 1)
          t.equal((await store.count(name, windows, 3)).counted, false, 'one moment earlier')
          await advance(1)
        } else await advance(retryAfterMs)
        t.equal((await store.count(name, windows, 3)).counted, true, 'at that moment')
      }),
      { numRuns: 30 },
    )
  })

  await t.test('a thousand concurrent callers never exceed a limit', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    const windows = [{ windowMs: 60_000, limit: 100 }]
    const results = await Promise.all(Array.from({ length: 1000 }, () => store.count('k', windows)))
    t.equal(results.filter(({ counted }) => counted).length, 100)
  })
}

async function collections(t: Test, open: Open) {
  await t.test('a timeline keeps its window and its cap, oldest first', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, now, advance } = under
    const start = now()
    for (let n = 1; n <= 5; n++) {
      t.equal(await store.append('k', `v:${n}`, { windowMs: 1000, maxEntries: 4 }), Math.min(n, 4))
      await advance(100)
    }
    t.strictSame(await store.timeline('k', 1000), [
      { time: start + 100, value: 'v:2' },
      { time: start + 200, value: 'v:3' },
      { time: start + 300, value: 'v:4' },
      { time: start + 400, value: 'v:5' },
    ])
    t.equal((await store.timeline('k', 250)).length, 2, 'a shorter look')
    await advance(700)
    t.equal(await store.append('k', 'late', { windowMs: 1000, maxEntries: 4 }), 3)
    await advance(1000)
    t.strictSame(await store.timeline('k', 1000), [])
  })

  await t.test('each member expires by itself, and the set keeps its cap', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store, advance } = under
    const add = (member: string, ttlMs: number) =>
      store.addMember('k', member, { ttlMs, maxMembers: 3 })
    t.strictSame(await add('long', 3000), { added: true, size: 1 })
    t.strictSame(await add('short', 1000), { added: true, size: 2 })
    t.strictSame(await add('short', 1500), { added: false, size: 2 }, 'renewed')
    await advance(1000)
    t.equal(await store.hasMember('k', 'short'), true)
    await advance(500)
    t.equal(await store.hasMember('k', 'short'), false)
    t.strictSame(await store.members('k'), ['long'])
    await add('a', 100)
    await add('b', 2000)
    t.strictSame(await add('c', 5000), { added: true, size: 3 }, 'the soonest to expire makes room')
    t.strictSame(await store.members('k'), ['long', 'b', 'c'])
    t.equal(await store.removeMember('k', 'b'), true)
    t.equal(await store.removeMember('k', 'b'), false)
    t.equal(await store.removeMember('nothing', 'b'), false)
    await advance(5000)
    t.strictSame(await store.members('k'), [])
  })
}

async function messages(t: Test, open: Open) {
  await t.test('every subscriber of a channel receives each message, in order', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    const heard: string[] = []
    const done = new Promise<void>((resolve) => {
      const hear = (name: string) => ({
        message: (message: string) => {
          heard.push(`${name} ${message}`)
          if (heard.length === 6) resolve()
        },
        interrupted: (reason: string) => heard.push(`interrupted: ${reason}`),
        restored: () => heard.push('restored'),
      })
      void Promise.all([
        store.subscribe('channel', hear('a')),
        store.subscribe('channel', hear('b')),
        store.subscribe('other', hear('c')),
      ]).then(async () => {
        for (const n of [1, 2, 3]) await store.publish('channel', `message:${n}`)
      })
    })
    await done
    t.strictSame(
      heard.filter((line) => line.startsWith('a')),
      ['a message:1', 'a message:2', 'a message:3'],
    )
    t.equal(heard.filter((line) => line.startsWith('b')).length, 3)
  })

  await t.test('a listener that was removed receives no more messages', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    const quiet: string[] = []
    const listener = { interrupted: () => {}, restored: () => {} }
    const stop = await store.subscribe('channel', { ...listener, message: (m) => quiet.push(m) })
    await stop()
    await stop()
    await new Promise<void>((resolve, reject) => {
      store
        .subscribe('channel', { ...listener, message: () => resolve() })
        .then(() => store.publish('channel', 'hello'))
        .catch(reject)
    })
    t.strictSame(quiet, [])
  })
}

async function misuse(t: Test, open: Open) {
  await t.test('a key holds one kind of value', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    const failed = { code: 'PARAPET_KIT_STORE_FAILED', statusCode: 500 }
    await store.count('k', [{ windowMs: 1000 }])
    await t.rejects(store.get('k'), failed)
    await t.rejects(store.getAndDelete('k'), failed)
    await t.rejects(store.compareAndSet('k', null, 'x', 1), failed)
    await t.rejects(store.append('k', 'x', { windowMs: 1, maxEntries: 1 }), failed)
    await t.rejects(store.addMember('k', 'x', { ttlMs: 1, maxMembers: 1 }), failed)
    await t.rejects(store.timeline('k', 1), failed)
    await t.rejects(store.members('k'), failed)
    t.equal(await store.setIfAbsent('k', 'x', 1000), false)
    await store.set('k', 'x', 1000)
    t.equal(await store.get('k'), 'x', 'set replaces whatever was there')
    await t.rejects(store.count('k', [{ windowMs: 1000 }]), failed)
    for (let windowMs = 1; windowMs <= 8; windowMs++)
      await store.count('full', [{ windowMs: windowMs * 60_000 }])
    await t.rejects(store.count('full', [{ windowMs: 90_000 }]), failed, 'a ninth window')
  })

  await t.test('an argument out of range is refused before anything is stored', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    const refused = { code: 'PARAPET_KIT_INVALID_ARGUMENT', statusCode: 500 }
    const lone = '\ud800'
    await t.rejects(store.get(''), refused)
    await t.rejects(store.get('x'.repeat(513)), refused)
    await t.rejects(store.get(lone), refused)
    await t.rejects(store.set('k', lone, 1), refused)
    await t.rejects(store.set('k', 'x'.repeat(1_048_577), 1), refused)
    for (const ttl of [0, -1, 1.5, Number.NaN, Infinity, '1' as unknown as number]) {
      await t.rejects(store.set('k', 'x', ttl), refused)
    }
    await t.rejects(store.count('k', []), refused)
    await t.rejects(store.count('k', [{ windowMs: 1 }, { windowMs: 1 }]), refused)
    await t.rejects(store.count('k', [{ windowMs: 1, limit: -1 }]), refused)
    await t.rejects(store.count('k', [{ windowMs: 1 }], -1), refused)
    await t.rejects(store.append('k', 'x', { windowMs: 1, maxEntries: 0 }), refused)
    await t.rejects(store.addMember('k', 'x', { ttlMs: 1, maxMembers: 100_001 }), refused)
    t.equal(await store.get('k'), null)
  })

  await t.test('a closed store is unavailable', async (t) => {
    const under = await open(t)
    if (under === null) return
    const { store } = under
    await store.close()
    const gone = { code: 'PARAPET_KIT_STORE_UNAVAILABLE', statusCode: 503 }
    await t.rejects(store.get('k'), gone)
    await t.rejects(store.set('k', 'x', 1), gone)
    await t.rejects(store.publish('c', 'x'), gone)
    const listener = { message: () => {}, interrupted: () => {}, restored: () => {} }
    await t.rejects(store.subscribe('c', listener), gone)
  })
}
