import { runs } from '@parapet/testing'
import t, { type Test } from 'tap'
import type { Policy } from '../src/limits/policy.ts'
import {
  memoryStore,
  policyOf,
  redisStore,
  SECOND_US,
  slotOf,
  type StoreUnderTest,
} from './stores.ts'

/** A small generator with a seed, so that a failure can be repeated. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

interface Arrival {
  readonly at: number
  readonly cost: number
  readonly allowed: boolean
}

/** Runs one schedule: bursts, pauses of about a window, and steps of a millisecond at its edge. */
async function schedule(
  { store, clock }: StoreUnderTest,
  policy: Policy,
  id: string,
  seed: number,
  arrivals: number,
): Promise<Arrival[]> {
  const random = randomOf(seed)
  const windowMs = policy.bounds[0]!.windowUs / 1000
  const most = random() < 0.3 ? 3 : 1
  const pending: Promise<Arrival>[] = []
  for (let index = 0; index < arrivals; index++) {
    const kind = random()
    const step =
      kind < 0.5
        ? Math.floor(random() * 3)
        : kind < 0.9
          ? Math.floor((random() * windowMs) / 3)
          : Math.floor(windowMs - 2 + random() * 4)
    clock.advance(step)
    const cost = 1 + Math.floor(random() * most)
    const at = clock.now() * 1000
    const verdict = store.decide([slotOf(policy, id, { cost })], '')
    pending.push(Promise.resolve(verdict).then(({ allowed }) => ({ at, cost, allowed })))
  }
  return Promise.all(pending)
}

/** Brute force: the whole log, counted anew for each arrival and each bound. */
function exactFaults(policy: Policy, arrivals: readonly Arrival[]): string[] {
  const faults: string[] = []
  const admitted: Arrival[] = []
  const least = Math.min(...policy.bounds.map(({ limit }) => limit))
  for (const arrival of arrivals) {
    const cost = Math.min(arrival.cost, least)
    const fits = policy.bounds.every(({ limit, windowUs }) => {
      const inside = admitted.filter(({ at }) => at > arrival.at - windowUs)
      return inside.reduce((sum, each) => sum + each.cost, cost) <= limit
    })
    if (fits !== arrival.allowed) faults.push(`at ${arrival.at}: expected ${fits}`)
    if (arrival.allowed) admitted.push({ ...arrival, cost })
  }
  return faults
}

/** In any span between two admitted requests at most `limit × (1 + span / window)`, and a bucket by hand. */
function gcraFaults(policy: Policy, arrivals: readonly Arrival[]): string[] {
  const faults: string[] = []
  const { limit, windowUs } = policy.bounds[0]!
  const interval = Math.ceil(windowUs / limit)
  let tokens = limit * interval
  let last = arrivals[0]!.at
  for (const { at, cost, allowed } of arrivals) {
    tokens = Math.min(limit * interval, tokens + at - last)
    last = at
    const needed = Math.min(cost, limit) * interval
    if (allowed !== tokens >= needed) faults.push(`at ${at}: expected ${tokens >= needed}`)
    if (allowed) tokens -= needed
  }
  const admitted = arrivals.filter((each) => each.allowed)
  for (const [from, first] of admitted.entries()) {
    let sum = 0
    for (const { at, cost } of admitted.slice(from)) {
      sum += Math.min(cost, limit)
      const bound = limit * (1 + (at - first.at) / windowUs)
      if (sum > bound + 1e-9) faults.push(`${sum} from ${first.at} to ${at}, bound ${bound}`)
    }
  }
  return faults
}

const policies: readonly Policy[] = [
  policyOf([[5, 60 * SECOND_US]]),
  policyOf([
    [5, 60 * SECOND_US],
    [20, 3600 * SECOND_US],
  ]),
  policyOf([
    [7, SECOND_US],
    [3, 10 * SECOND_US],
  ]),
]

async function check(t: Test, given: StoreUnderTest, schedules: number): Promise<void> {
  const arrivals = 60
  const faults: string[] = []
  let refused = 0
  for (let seed = 0; seed < schedules; seed++) {
    const exact = policies[seed % policies.length]!
    const log = await schedule(given, exact, `x${seed}`, seed, arrivals)
    faults.push(...exactFaults(exact, log))
    const gcra = { ...policyOf([[1 + (seed % 12), 60 * SECOND_US]]), algorithm: 'gcra' } as const
    const bucket = await schedule(given, gcra, `g${seed}`, seed + 1, arrivals)
    faults.push(...gcraFaults(gcra, bucket))
    refused += [...log, ...bucket].filter(({ allowed }) => !allowed).length
  }
  t.same(faults.slice(0, 5), [], `${schedules} schedules of each algorithm, no fault`)
  t.ok(refused > schedules * 10, 'the schedules reach the limits')
}

await t.test('memory admits what a brute-force log admits, in every window position', (t) =>
  check(t, memoryStore(1_000_000), runs(3000, 100_000)),
)

await t.test('Redis admits what a brute-force log admits, in every window position', async (t) => {
  const given = await redisStore(t)
  if (given !== null) await check(t, given, runs(300, 10_000))
})

await t.test('memory and Redis decide, count and block alike, over several slots', async (t) => {
  const redis = await redisStore(t)
  if (redis === null) return
  const memory = memoryStore()
  const random = randomOf(7)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const kinds = [
    policyOf([[3, 10 * SECOND_US]], { tier: 'a' }),
    policyOf([[4, 10 * SECOND_US]], { tier: 'b', algorithm: 'gcra', blockUs: 7 * SECOND_US }),
    policyOf(
      [
        [2, SECOND_US],
        [6, 30 * SECOND_US],
      ],
      { tier: 'c', blockUs: 3 * SECOND_US },
    ),
    policyOf([[2, 20 * SECOND_US]], { tier: 'd', algorithm: 'gcra', isEnforced: false }),
    policyOf([[9, 20 * SECOND_US]], { tier: 'e', maxInFlight: 2, leaseUs: 5 * SECOND_US }),
  ]
  const steps = runs(2500, 50_000)
  let refused = 0
  for (let step = 0; step < steps; step++) {
    const advance = Math.floor(random() * 2500)
    for (const { clock } of [memory, redis]) clock.advance(advance)
    const chosen = kinds.filter(() => random() < 0.4)
    if (chosen.length === 0) continue
    const slots = chosen.map((policy) => {
      const id = `${policy.tier}:${pick(['1', '2'])}`
      const proof = random() < 0.1 ? 'proof' : undefined
      const components = random() < 0.5 ? ['ip=1', 'user=2'] : []
      return slotOf(policy, id, { cost: pick([0, 1, 1, 1, 2, 50]), proof, components })
    })
    const action = random()
    if (action < 0.04) {
      const [component, factor] = [pick(['ip=1', 'user=2']), pick([0.5, 1])]
      // Longer than the test, because Redis expires keys by its own clock.
      for (const { store } of [memory, redis]) await store.tighten(component, factor, 1e9)
    }
    if (action < 0.01) for (const { store } of [memory, redis]) await store.prove(['proof'], 1e9)
    const lease = String(step)
    const [ours, theirs] = [
      memory.store.decide(slots, lease),
      await redis.store.decide(slots, lease),
    ]
    if (!ours.allowed) refused++
    if (!t.same(theirs, ours, `step ${step}`)) break
    if (action > 0.7 && ours.allowed) {
      for (const { store } of [memory, redis]) await store.refund(slots, ours)
    }
    if (action > 0.5) for (const { store } of [memory, redis]) await store.release(slots, lease)
    if (action > 0.98)
      for (const { store } of [memory, redis]) await store.clear(slots, action > 0.99)
    if (step % 5 === 0) t.same(await redis.store.peek(slots), await memory.store.peek(slots))
  }
  t.ok(refused > steps / 10, `${refused} of ${steps} were refused`)
})

await t.test('a refused union consumes nothing and blocks only what was exceeded', async (t) => {
  const stores = [memoryStore(), await redisStore(t)]
  for (const given of stores) {
    if (given === null) continue
    const { name, store } = given
    const tight = policyOf([[1, 60 * SECOND_US]], { tier: 'tight', blockUs: 90 * SECOND_US })
    const wide = policyOf([[10, 60 * SECOND_US]], { tier: 'wide', algorithm: 'gcra' })
    const union = [slotOf(wide, 'wide'), slotOf(tight, 'tight')]
    t.equal((await store.decide(union, '')).allowed, true)
    const before = await store.peek([union[0]!])
    for (let count = 0; count < 20; count++) {
      t.equal((await store.decide(union, '')).allowed, false)
    }
    t.same(await store.peek([union[0]!]), before, `${name}: the other tier is untouched`)
    t.match(await store.peek([union[1]!]), [{ outcome: 'blocked', refusals: 20 }])
  }
})

await t.test(
  'a clock that is set back or a changed limit neither forgets nor refuses',
  async (t) => {
    const hour = 3600 * SECOND_US
    for (const given of [memoryStore(), await redisStore(t)]) {
      if (given === null) continue
      const { name, clock, store } = given
      const use = async (policy: Policy, count = 1) => {
        let verdict = await store.decide([slotOf(policy, `k ${policy.algorithm}`)], 'lease')
        for (let each = 1; each < count; each++) {
          verdict = await store.decide([slotOf(policy, `k ${policy.algorithm}`)], 'lease')
        }
        const { outcome, bounds } = verdict.readings[0]!
        return [outcome, ...bounds.map(({ remaining }) => remaining)]
      }
      for (const algorithm of ['gcra', 'exact'] as const) {
        const of = (...bounds: [number, number][]) => policyOf(bounds, { algorithm })
        t.same(await use(of([100, hour]), 20), ['fits', 80], name)
        clock.advance(-6 * 3_600_000)
        t.same(await use(of([100, hour])), ['fits', 79], `${name} ${algorithm}, set back`)
        const more = of([50, SECOND_US], [100, hour])
        t.same(
          await use(more),
          ['fits', algorithm === 'exact' ? 28 : 49, 78],
          'with a limit in front',
        )
        const larger = await use(of([1000, hour]))
        t.same(larger, ['fits', 977], 'with a larger limit')
        t.same(await use(of([10, hour])), ['limit', 0], 'with a smaller limit')
        t.same(await use(of([100, hour])), ['fits', 76], 'and with that of before')
        clock.advance(8 * 3_600_000)
      }
      const running = policyOf([[100, hour]], { maxInFlight: 1 })
      await store.decide([slotOf(running, 'running')], 'one')
      clock.advance(-6 * 3_600_000)
      await store.decide([slotOf(running, 'running')], 'two')
      clock.advance(60_001)
      const [reading] = await store.peek([slotOf(running, 'running')])
      t.equal(reading!.outcome, 'fits', `${name}: a lease ends in time`)
    }
  },
)
