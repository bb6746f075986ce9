import { runs } from '@parapet/testing'
import t, { type Test } from 'tap'
import { createKeyHash } from '../src/windows/key-hash.ts'
import { KeyTable } from '../src/windows/key-table.ts'
import { CountWindows, DistinctWindows, SumWindows } from '../src/windows/windows.ts'

/** Small, seeded and fast. */
function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Entry {
  readonly key: number
  readonly at: number
  readonly item: number
}

/** A schedule with bursts, gaps and steps of exactly the window. */
function createSchedule(random: () => number, windowMs: number): Entry[] {
  const entries: Entry[] = []
  let at = 1_000_000
  const length = 20 + Math.floor(random() * 60)
  for (let index = 0; index < length; index++) {
    const kind = random()
    if (kind > 0.4) at += Math.floor(random() * windowMs * (kind > 0.9 ? 1.5 : 0.2))
    else if (kind > 0.35) at += windowMs
    else if (kind > 0.3) at += windowMs - 1
    entries.push({ key: 1 + Math.floor(random() * 3), at, item: 1 + Math.floor(random() * 6) })
  }
  return entries
}

await t.test('counts and distinct counts agree with a brute-force oracle', async (t) => {
  const schedules = runs(400, 10_000)
  let compared = 0
  for (let seed = 0; seed < schedules; seed++) {
    const random = createRandom(seed)
    const windowMs = 10 + Math.floor(random() * 10_000)
    const capacity = 1 + Math.floor(random() * 40)
    const settings = { windowMs, capacity, maxKeys: 100 }
    const counts = new CountWindows(settings)
    const distinct = new DistinctWindows(settings)
    const past: Entry[] = []
    for (const entry of createSchedule(random, windowMs)) {
      past.push(entry)
      const inside = past.filter(({ key, at }) => key === entry.key && at > entry.at - windowMs)
      const expected = Math.min(capacity, inside.length)
      const items = Math.min(capacity, new Set(inside.map(({ item }) => item)).size)
      const seen = [counts.add(entry.key, entry.at), distinct.add(entry.key, entry.at, entry.item)]
      if (seen[0] !== expected || seen[1] !== items) {
        t.same(seen, [expected, items], `seed ${seed}`)
        return
      }
      compared++
    }
  }
  t.ok(compared > schedules * 20, `${schedules} schedules, ${compared} readings`)
})

await t.test(
  'a sum leaves the window at most a sixth of it too late, never too early',
  async (t) => {
    for (let seed = 0; seed < runs(100, 2000); seed++) {
      const random = createRandom(seed)
      const windowMs = 600 + Math.floor(random() * 10_000)
      const sums = new SumWindows({ windowMs, capacity: 1, maxKeys: 100 })
      const past: Entry[] = []
      for (const entry of createSchedule(random, windowMs)) {
        past.push(entry)
        const within = (ms: number) =>
          past
            .filter(({ key, at }) => key === entry.key && at > entry.at - ms)
            .reduce((sum, { item }) => sum + item, 0)
        const seen = sums.add(entry.key, entry.at, entry.item)
        if (seen < within(windowMs) || seen > within(windowMs * (1 + 2 / 6))) {
          t.fail(`seed ${seed}: ${seen} is not between ${within(windowMs)} and what is a bit older`)
          return
        }
      }
    }
    t.pass('every sum is in its bounds')
  },
)

await t.test('the table agrees with a Map while keys come, go and move', async (t) => {
  const random = createRandom(7)
  const table = new KeyTable({ maxKeys: 500, windowMs: 1000 })
  const known = new Set<number>()
  for (let step = 0; step < 20_000; step++) {
    const key = 1 + Math.floor(random() * 400) * 64
    if (random() < 0.4) {
      table.delete(key)
      known.delete(key)
    } else {
      table.touch(key, step)
      known.add(key)
    }
    if ((table.find(key) !== -1) !== known.has(key)) t.fail(`step ${step}`)
  }
  t.equal(table.size, known.size)
  for (const key of known) if (table.find(key) === -1) t.fail(`${key} is lost`)
})

const hash = createKeyHash()

function fillWithOthers(windows: CountWindows, count: number, at: number): void {
  for (let other = 0; other < count; other++) windows.add(hash(`other ${other}`), at)
}

await t.test('a flood of new keys does not evict a client that is near its limit', async (t) => {
  const windows = new CountWindows({ windowMs: 60_000, capacity: 5, maxKeys: 1000 })
  const suspects = Array.from({ length: 50 }, (_, index) => hash(`suspect ${index}`))
  for (const key of suspects) for (let each = 0; each < 4; each++) windows.add(key, 1000)
  fillWithOthers(windows, 50_000, 2000)
  t.ok(windows.size <= 1000)
  const readings = suspects.map((key) => windows.add(key, 3000))
  t.ok(
    readings.every((reading) => reading === 5),
    'all 50 are still known',
  )
})

await t.test('keys whose window has passed make room first', async (t) => {
  const windows = new CountWindows({ windowMs: 1000, capacity: 5, maxKeys: 100 })
  for (let key = 1; key <= 100; key++) for (let each = 0; each < 5; each++) windows.add(key, 0)
  fillWithOthers(windows, 100, 10_000)
  t.equal(windows.size, 100)
  t.equal(windows.add(hash('other 1'), 10_001), 2, 'the newcomers stayed')
  windows.delete(hash('other 1'))
  t.equal(windows.size, 99)
  windows.delete(hash('nobody'))
  t.equal(windows.size, 99)
})

await t.test('the hash keeps texts and pairs of texts apart, with a seed of its own', async (t) => {
  const other = createKeyHash()
  t.equal(hash('192.0.2.1'), hash('192.0.2.1'))
  t.not(hash('192.0.2.1'), other('192.0.2.1'))
  t.not(hash('a', 'bc'), hash('ab', 'c'))
  t.not(hash('abc'), hash('a', 'bc'))
  const seen = new Set<number>()
  for (let index = 0; index < 100_000; index++) seen.add(hash(`10.${index >> 8}.${index & 255}.1`))
  t.equal(seen.size, 100_000)
  t.ok([...seen].every((value) => Number.isSafeInteger(value) && value > 0))
  t.ok(isSpread(t, [...seen]))
})

/** The low bits choose a slot: no slot may get far more than its share. */
function isSpread(t: Test, hashes: readonly number[]): boolean {
  const buckets = new Uint32Array(1024)
  for (const value of hashes) buckets[(value % 2 ** 32) & 1023]!++
  const most = Math.max(...buckets)
  t.comment(`the fullest of 1024 buckets has ${most} of ${hashes.length}`)
  return most < (hashes.length / 1024) * 1.6
}
