import { runs } from '@parapet/testing'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Shares } from '../src/limits/shares.ts'
import { memoryStore, policyOf, SECOND_US, slotOf } from './stores.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
const usedBytes = (): number => {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

const HOUR_US = 3600 * SECOND_US
const standard = policyOf([[100, HOUR_US]], {
  tier: 'standard',
  algorithm: 'gcra',
  blockUs: 600 * SECOND_US,
})
const auth = policyOf(
  [
    [5, 60 * SECOND_US],
    [20, HOUR_US],
  ],
  { tier: 'auth' },
)

await t.test('a million attacking keys stay within 64 MiB and free no blocked key', async (t) => {
  const before = usedBytes()
  const { store } = memoryStore()
  const victims = Array.from({ length: 1000 }, (_, index) => slotOf(standard, `standard ${index}`))
  for (const victim of victims) {
    for (let count = 0; count < 101; count++) store.decide([victim], '')
  }
  const attackers = runs(1_000_000, 10_000_000)
  for (let index = 0; index < attackers; index++) {
    const tier = index % 2 === 0 ? standard : auth
    store.decide([slotOf(tier, `${tier.tier} a${index}`)], '')
  }
  const usedMiB = (usedBytes() - before) / 2 ** 20
  t.ok(usedMiB <= 64, `${usedMiB.toFixed(1)} MiB are used`)
  t.ok(store.status.keys <= 80_000 + 2 * 4096, `${store.status.keys} keys are stored`)
  const freed = victims.filter((victim) => store.decide([victim], '').allowed)
  t.same(freed, [], 'every blocked key is still blocked')
})

await t.test('keys that find no place share counters, and are never unlimited', async (t) => {
  const { clock, store } = memoryStore(1000)
  for (let index = 0; index < 1000; index++) store.decide([slotOf(auth, `auth ${index}`)], '')
  const late = slotOf(auth, 'auth late')
  const admit = () => store.decide([late], '').allowed
  t.same([admit(), admit(), admit(), admit(), admit(), admit()].filter(Boolean).length, 5)
  const flooded = Array.from({ length: 100_000 }, (_, index) => slotOf(auth, `auth f${index}`))
  const admitted = flooded.filter((slot) => store.decide([slot], '').allowed)
  t.ok(admitted.length <= 5 * 4096, `${admitted.length} of a flood are admitted`)
  clock.advance(30_000)
  t.equal(admit(), false)
  clock.advance(30_000)
  t.equal(admit(), true, 'after a minute the shared counter admits again')
})

await t.test('a key that gets a place keeps what was counted in the shared counter', async (t) => {
  const { clock, store } = memoryStore(1000)
  const short = policyOf([[1, SECOND_US]], { tier: 'short' })
  for (let index = 0; index < 1000; index++) store.decide([slotOf(short, `short ${index}`)], '')
  const late = slotOf(auth, 'auth late')
  for (let count = 0; count < 5; count++) t.ok(store.decide([late], '').allowed)
  clock.advance(2000)
  t.equal(store.decide([late], '').allowed, false, 'the place is free now, but not the limit')
  await store.clear([late], true)
  t.equal(store.decide([late], '').allowed, true, 'a reset forgets the shared counter, too')
})

await t.test('a clock that is set back prolongs no limit', async (t) => {
  const { clock, store } = memoryStore()
  const slot = slotOf({ ...standard, bounds: [{ limit: 2, windowUs: 60 * SECOND_US }] }, 'k')
  const exact = slotOf(policyOf([[2, 60 * SECOND_US]]), 'x')
  for (let count = 0; count < 3; count++) {
    store.decide([slot], '')
    store.decide([exact], '')
  }
  clock.advance(-HOUR_US / 1000)
  const [blocked, window] = await store.peek([slot, exact])
  t.ok(blocked!.blockedUs <= standard.blockUs, 'a block is at most as long as it was')
  t.ok(window!.bounds[0]!.resetUs <= 60 * SECOND_US)
  t.ok(window!.bounds[0]!.retryUs <= 60 * SECOND_US)
})

await t.test('a Redis that was restarted empty does not enlarge the shares', (t) => {
  const life = 16 * SECOND_US
  const shares = new Shares((policy) => policy, 1, life)
  shares.count(3, 0)
  shares.count(1, SECOND_US)
  t.equal(shares.instances, 3, 'the others have not reported yet')
  shares.count(3, 6 * SECOND_US)
  shares.count(2, 7 * SECOND_US)
  shares.count(2, 22 * SECOND_US)
  t.equal(shares.instances, 3)
  shares.count(2, 23 * SECOND_US)
  t.equal(shares.instances, 2, 'one that is silent for its life is gone')
  t.end()
})
