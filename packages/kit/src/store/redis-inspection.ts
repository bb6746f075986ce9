/** Looks for settings and missing rights of a Redis server that plugins cannot rely on. */
import { PARAPET_KIT_STORE_FAILED } from '../errors.ts'
import type { RedisExchange } from './redis-exchange.ts'
import type { StoreRisk } from './store.ts'

const RISKS = {
  evicts:
    'Redis may evict entries before they expire ("maxmemory-policy" is %s), so that revoked sessions, used codes and blocks are forgotten. Set "maxmemory-policy noeviction"',
  unknown_eviction:
    'the "maxmemory-policy" of Redis cannot be read. Make sure that it is "noeviction", and grant INFO',
  replica: 'the address leads to a replica, which refuses writes. Connect to the primary',
  no_scripting:
    'the Redis user must not run scripts, so counters and compare-and-set fail. Grant +@scripting',
  no_publish:
    'the Redis user must not publish, so instances do not learn of changes. Grant +@pubsub and the channel pattern of the prefix',
} as const

/**
 * Inspects the server behind the connection.
 *
 * @param probe a key and channel name under the store's prefix.
 */
export async function inspectRedis(redis: RedisExchange, probe: string): Promise<StoreRisk[]> {
  const risks: StoreRisk[] = []
  const info = await allowed(redis.command('INFO'))
  const policy = /^maxmemory_policy:(\S+)/m.exec(String(info))?.[1]
  const limit = Number(/^maxmemory:(\d+)/m.exec(String(info))?.[1] ?? 0)
  if (policy === undefined) risks.push(riskOf('unknown_eviction'))
  // Without a limit nothing is ever evicted.
  else if (policy !== 'noeviction' && limit > 0) risks.push(riskOf('evicts', policy))
  if (/^role:slave/m.test(String(info))) risks.push(riskOf('replica'))
  if ((await allowed(redis.command('EVAL', 'return 1', 1, probe))) === undefined) {
    risks.push(riskOf('no_scripting'))
  }
  if ((await allowed(redis.command('PUBLISH', probe, ''))) === undefined) {
    risks.push(riskOf('no_publish'))
  }
  return risks
}

/** @returns `undefined` where the server refuses the command to this user. */
async function allowed(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof PARAPET_KIT_STORE_FAILED) return undefined
    throw error
  }
}

function riskOf(kind: StoreRisk['kind'], detail = ''): StoreRisk {
  return { kind, message: RISKS[kind].replace('%s', detail) }
}
