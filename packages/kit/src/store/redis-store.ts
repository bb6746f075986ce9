/** The store of a fleet: Redis 6.2 or newer, single or cluster, through the user's own client. */
import { createBreaker, type Breaker, type BreakerState } from './breaker.ts'
import { systemClock, type Clock } from '../time/clock.ts'
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import { option } from '../options/option-readers.ts'
import { readOptions } from '../options/options.ts'
import { RedisExchange, type RedisClientLike } from './redis-exchange.ts'
import {
  ADD_MEMBER,
  APPEND,
  COMPARE_AND_SET,
  COUNT,
  HAS_MEMBER,
  MEMBERS,
  REMOVE_MEMBER,
  TIMELINE,
} from './redis-scripts.ts'
import { inspectRedis } from './redis-inspection.ts'
import { RedisSubscriptions } from './redis-subscriptions.ts'
import {
  MAX_WINDOWS,
  readWindow,
  requireCount,
  requireDuration,
  requireKey,
  requireMemberBounds,
  requireTimelineBounds,
  requireValue,
} from './store-rules.ts'
import type {
  CountResult,
  CountWindow,
  Store,
  StoreRisk,
  SubscriptionListener,
  TimelineEntry,
} from './store.ts'
import { warn } from '../warn.ts'

/** What {@link createRedisStore} takes. */
export interface RedisStoreOptions {
  /** An ioredis client or cluster, for instance `app.redis` of `@fastify/redis`. The caller closes it. */
  readonly client: RedisClientLike
  /** Prefix of every key and channel. @default 'parapet:' */
  readonly prefix?: string
  /** How long one call may take, in milliseconds, 5 to 60 000. @default 250 */
  readonly deadlineMs?: number
  /** Consecutive failures that open the breaker. @default 5 */
  readonly failureThreshold?: number
  /** How long the breaker stays open before it lets a probe through, in milliseconds. @default 1000 */
  readonly cooldownMs?: number
  /** How often a subscription is compared with what was published, in milliseconds. @default 1000 */
  readonly heartbeatMs?: number
  /**
   * A clock for deadlines, windows, timelines and members. @default the machine's clock for
   * deadlines, the Redis server's for stored times, so that the fleet has one clock
   */
  readonly clock?: Clock
  /** Gets what a subscriber throws. @default a process warning */
  readonly onError?: (error: unknown) => void
}

/**
 * Makes the store over Redis.
 *
 * A call that is not answered in time fails with STORE_TIMEOUT; it may have taken effect. While the
 * connection is lost or the breaker is open, calls fail at once with STORE_UNAVAILABLE; none is
 * queued to be sent later.
 *
 * @throws PARAPET_KIT_INVALID_OPTION
 * @throws PARAPET_KIT_INVALID_ARGUMENT the client has a `keyPrefix`, which applies to keys but not to
 *   channels; use `prefix` instead.
 */
export function createRedisStore(options: RedisStoreOptions): Store {
  const settings = readOptions('createRedisStore', options, {
    client: option.custom<RedisClientLike>(findClientProblem),
    prefix: option.text({ max: 128, default: 'parapet:' }),
    deadlineMs: option.milliseconds({ min: 5, max: 60_000, default: 250 }),
    failureThreshold: option.integer({ min: 1, default: 5 }),
    cooldownMs: option.milliseconds({ default: 1000 }),
    heartbeatMs: option.milliseconds({ min: 10, default: 1000 }),
    clock: option.optional(option.port<Clock>(['now', 'schedule'])),
    onError: option.callback<(error: unknown) => void>({ default: warn }),
  })
  if (settings.client.options?.keyPrefix) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(
      'the client of createRedisStore',
      'must have no keyPrefix; give the prefix to createRedisStore instead',
    )
  }
  return new RedisStore(settings)
}

/** iovalkey has ioredis' interface; the other clients are refused by name. */
function findClientProblem(value: unknown): string | undefined {
  const client = (value ?? {}) as Readonly<Record<string, unknown>>
  const has = (method: string): boolean => typeof client[method] === 'function'
  if (['call', 'duplicate', 'on', 'off'].every(has)) return undefined
  const kind = has('sendCommand')
    ? 'a node-redis client'
    : has('customCommand')
      ? 'a valkey-glide client'
      : 'something else'
  return `must be a client or cluster of ioredis or iovalkey (as app.redis of @fastify/redis), got ${kind}`
}

type RedisStoreSettings = Required<Omit<RedisStoreOptions, 'clock'>> & { clock: Clock | undefined }

class RedisStore implements Store {
  readonly #redis: RedisExchange
  readonly #breaker: Breaker
  readonly #subscriptions: RedisSubscriptions
  readonly #prefix: string
  /** The time that scripts get; -1 means the server's clock. */
  readonly #now: () => number

  constructor(settings: RedisStoreSettings) {
    const { client, prefix, deadlineMs, heartbeatMs, onError } = settings
    const clock = settings.clock ?? systemClock
    this.#breaker = createBreaker({ ...settings, clock })
    this.#redis = new RedisExchange(client, this.#breaker, deadlineMs, clock)
    this.#subscriptions = new RedisSubscriptions({
      client,
      redis: this.#redis,
      prefix,
      heartbeatMs,
      clock,
      onError,
    })
    this.#prefix = prefix
    this.#now = settings.clock === undefined ? () => -1 : () => clock.now()
  }

  get state(): BreakerState {
    return this.#breaker.state
  }

  onStateChange(listener: (state: BreakerState) => void): () => void {
    return this.#breaker.onStateChange(listener)
  }

  async get(key: string): Promise<string | null> {
    return (await this.#redis.command('GET', this.#key(key))) as string | null
  }

  async set(key: string, value: string, ttlMs: number): Promise<void> {
    requireValue(value)
    requireDuration('ttlMs', ttlMs)
    await this.#redis.command('SET', this.#key(key), value, 'PX', ttlMs)
  }

  async setIfAbsent(key: string, value: string, ttlMs: number): Promise<boolean> {
    requireValue(value)
    requireDuration('ttlMs', ttlMs)
    return (await this.#redis.command('SET', this.#key(key), value, 'PX', ttlMs, 'NX')) === 'OK'
  }

  async getAndDelete(key: string): Promise<string | null> {
    return (await this.#redis.command('GETDEL', this.#key(key))) as string | null
  }

  async compareAndSet(
    key: string,
    expected: string | null,
    next: string | null,
    ttlMs: number,
  ): Promise<boolean> {
    if (next !== null) requireValue(next)
    requireDuration('ttlMs', ttlMs)
    const args = [expected, next].map((text) => (text === null ? '-' : `=${text}`))
    return (await this.#redis.script(COMPARE_AND_SET, this.#key(key), ...args, ttlMs)) === 1
  }

  async delete(key: string): Promise<boolean> {
    return (await this.#redis.command('DEL', this.#key(key))) === 1
  }

  async count(key: string, windows: readonly CountWindow[], amount = 1): Promise<CountResult> {
    requireCount(windows, amount)
    const pairs = windows.flatMap(({ windowMs, limit = -1 }) => [windowMs, limit])
    const reply = await this.#redis.script(
      COUNT,
      this.#key(key),
      this.#now(),
      amount,
      MAX_WINDOWS,
      ...pairs,
    )
    const [counted, now, ...buckets] = (reply as (string | number)[]).map(Number)
    return {
      counted: counted === 1,
      windows: windows.map((window, index) => {
        const [bucket, current, previous] = buckets.slice(3 * index, 3 * index + 3)
        const stored = { bucket: bucket!, current: current!, previous: previous! }
        return readWindow(window, stored, Math.max(1, amount), now!)
      }),
    }
  }

  async append(
    key: string,
    value: string,
    { windowMs, maxEntries }: { readonly windowMs: number; readonly maxEntries: number },
  ): Promise<number> {
    requireValue(value)
    requireTimelineBounds(windowMs, maxEntries)
    const args = [this.#now(), windowMs, maxEntries, value]
    return (await this.#redis.script(APPEND, this.#key(key), ...args)) as number
  }

  async timeline(key: string, windowMs: number): Promise<TimelineEntry[]> {
    requireDuration('windowMs', windowMs)
    const reply = await this.#redis.script(TIMELINE, this.#key(key), this.#now())
    const [now, ...entries] = reply as string[]
    return entries
      .map((entry) => {
        const colon = entry.indexOf(':')
        return { time: Number(entry.slice(0, colon)), value: entry.slice(colon + 1) }
      })
      .filter(({ time }) => time > Number(now) - windowMs)
  }

  async addMember(
    key: string,
    member: string,
    { ttlMs, maxMembers }: { readonly ttlMs: number; readonly maxMembers: number },
  ): Promise<{ added: boolean; size: number }> {
    requireValue(member)
    requireMemberBounds(ttlMs, maxMembers)
    const args = [this.#now(), ttlMs, maxMembers, member]
    const reply = await this.#redis.script(ADD_MEMBER, this.#key(key), ...args)
    const [added, size] = reply as [number, number]
    return { added: added === 1, size }
  }

  async removeMember(key: string, member: string): Promise<boolean> {
    requireValue(member)
    return (await this.#redis.script(REMOVE_MEMBER, this.#key(key), this.#now(), member)) === 1
  }

  async hasMember(key: string, member: string): Promise<boolean> {
    requireValue(member)
    return (await this.#redis.script(HAS_MEMBER, this.#key(key), this.#now(), member)) === 1
  }

  async members(key: string): Promise<string[]> {
    return (await this.#redis.script(MEMBERS, this.#key(key), this.#now())) as string[]
  }

  async publish(channel: string, message: string): Promise<void> {
    requireKey(channel)
    requireValue(message)
    await this.#subscriptions.publish(channel, message)
  }

  async subscribe(channel: string, listener: SubscriptionListener): Promise<() => Promise<void>> {
    requireKey(channel)
    return this.#subscriptions.subscribe(channel, listener)
  }

  inspect(): Promise<StoreRisk[]> {
    return inspectRedis(this.#redis, `${this.#prefix}channel:inspection`)
  }

  async close(): Promise<void> {
    this.#redis.close()
    this.#subscriptions.close()
  }

  #key(key: string): string {
    requireKey(key)
    return this.#prefix + key
  }
}
