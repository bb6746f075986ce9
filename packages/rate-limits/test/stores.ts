/** Stores for tests of the core, and policies and slots for them. */
import { createBreaker, createManualClock, type ManualClock } from '@parapet/kit'
import { useRedis } from '@parapet/testing'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import type { Policy, Slot } from '../src/limits/policy.ts'
import { MemoryLimits } from '../src/store/memory-limits.ts'
import { RedisExchange } from '../src/store/redis-exchange.ts'
import { RedisLimits } from '../src/store/redis-limits.ts'

export const SECOND_US = 1_000_000

/** Makes a policy; `bounds` are pairs of limit and window in µs. */
export function policyOf(
  bounds: readonly (readonly [limit: number, windowUs: number])[],
  rest: Partial<Policy> = {},
): Policy {
  return {
    tier: 'test',
    algorithm: 'exact',
    blockUs: 0,
    maxInFlight: 0,
    leaseUs: 60 * SECOND_US,
    isEnforced: true,
    ...rest,
    bounds: bounds.map(([limit, windowUs]) => ({ limit, windowUs })),
  }
}

/** Makes a slot. */
export function slotOf(policy: Policy, id: string, rest: Partial<Slot> = {}): Slot {
  return { policy, id, cost: 1, components: [], proof: undefined, ...rest }
}

/** The same operations on a store in memory and on one in Redis, with a clock that the test moves. */
export interface StoreUnderTest {
  readonly name: string
  readonly clock: ManualClock
  readonly store: Pick<
    MemoryLimits,
    'peek' | 'refund' | 'release' | 'prove' | 'tighten' | 'clear'
  > & {
    decide(
      slots: readonly Slot[],
      lease: string,
    ): ReturnType<RedisLimits['decide']> | ReturnType<MemoryLimits['decide']>
  }
}

/** The store in memory. */
export function memoryStore(maxKeys = 80_000) {
  const clock = createManualClock()
  return { name: 'memory', clock, store: new MemoryLimits(clock, maxKeys) } as const
}

/** The store on a real Redis, or `null` where there is none. */
export async function redisStore(t: Test): Promise<StoreUnderTest | null> {
  const fixture = await useRedis(t)
  if (fixture === null) return null
  const client = new Redis(fixture.url, { lazyConnect: true })
  t.after(() => client.disconnect())
  await client.connect()
  const clock = createManualClock()
  const exchange = new RedisExchange(client, createBreaker(), 20_000, createManualClock())
  t.after(() => exchange.close())
  // Redis expires keys by its own clock, so that times of this clock must not be in its past.
  const store = new RedisLimits(exchange, fixture.prefix, () => Math.round(clock.now() * 1000))
  return { name: 'Redis', clock, store }
}
