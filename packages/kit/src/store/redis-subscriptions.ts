/**
 * Publish and subscribe over Redis, which does not keep messages for absent subscribers. Redis numbers
 * the messages of a channel, and a heartbeat compares the last number received with the last number
 * published, so that a lost message, a dead connection and a flushed server are detected.
 */
import type { Clock } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import { PARAPET_KIT_STORE_TIMEOUT, PARAPET_KIT_STORE_UNAVAILABLE } from '../errors.ts'
import type { RedisClientLike, RedisExchange } from './redis-exchange.ts'
import { PUBLISH } from './redis-scripts.ts'
import { bindListener } from './store-rules.ts'
import type { SubscriptionListener } from './store.ts'

interface Dependencies {
  readonly client: RedisClientLike
  readonly redis: RedisExchange
  readonly prefix: string
  readonly heartbeatMs: number
  readonly clock: Clock
  readonly onError: (error: unknown) => void
}

interface Channel {
  readonly name: string
  readonly numberKey: string
  readonly listeners: Set<SubscriptionListener>
  /** Resolves when Redis has confirmed the subscription; shared by all listeners. */
  attached: Promise<void> | undefined
  /** The number of the last message received. */
  received: number
  /** The last number published, as of the previous heartbeat. */
  published: number
  interrupted: boolean
}

/** How long the number of an idle channel is kept; after that it restarts, which looks like a loss. */
const NUMBER_TTL_MS = 2_592_000_000
/** Connecting the subscriber may take longer than a single call. */
const CONNECT_DEADLINE_MS = 5000

export class RedisSubscriptions {
  readonly #dependencies: Dependencies
  /** By their name in Redis. */
  readonly #channels = new Map<string, Channel>()
  #subscriber: RedisClientLike | undefined
  #cancelHeartbeat: (() => void) | undefined
  #closed = false

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies
  }

  async publish(channel: string, message: string): Promise<void> {
    const { name, numberKey } = this.#namesOf(channel)
    await this.#dependencies.redis.script(PUBLISH, numberKey, name, message, NUMBER_TTL_MS)
  }

  async subscribe(channel: string, listener: SubscriptionListener): Promise<() => Promise<void>> {
    if (this.#closed) throw new PARAPET_KIT_STORE_UNAVAILABLE('it is closed')
    const entry = this.#entryOf(channel)
    entry.attached ??= this.#attach(entry)
    try {
      await entry.attached
    } catch (error) {
      if (entry.listeners.size === 0) this.#channels.delete(entry.name)
      throw error
    }
    const own = bindListener(listener)
    entry.listeners.add(own)
    if (entry.interrupted) own.interrupted('the channel is interrupted')
    this.#cancelHeartbeat ??= this.#scheduleHeartbeat()
    return async () => this.#remove(entry, own)
  }

  #entryOf(channel: string): Channel {
    const names = this.#namesOf(channel)
    let entry = this.#channels.get(names.name)
    if (entry === undefined) {
      entry = {
        ...names,
        listeners: new Set(),
        attached: undefined,
        received: 0,
        published: 0,
        interrupted: false,
      }
      this.#channels.set(names.name, entry)
    }
    return entry
  }

  close(): void {
    this.#closed = true
    this.#cancelHeartbeat?.()
    this.#channels.clear()
    this.#subscriber?.disconnect()
  }

  #namesOf(channel: string): { name: string; numberKey: string } {
    const { prefix } = this.#dependencies
    return { name: `${prefix}channel:${channel}`, numberKey: `${prefix}channel-number:${channel}` }
  }

  async #remove(entry: Channel, listener: SubscriptionListener): Promise<void> {
    if (!entry.listeners.delete(listener) || entry.listeners.size > 0) return
    if (!this.#channels.delete(entry.name)) return
    // A lost connection has no subscriptions.
    if (this.#subscriber?.status !== 'ready') return
    // A server that does not respond must not delay closing; no listener is left.
    const unsubscribed = this.#subscriber.unsubscribe(entry.name)
    const late = (): Error => new PARAPET_KIT_STORE_TIMEOUT(this.#dependencies.heartbeatMs)
    await withDeadline(
      unsubscribed,
      this.#dependencies.heartbeatMs,
      late,
      this.#dependencies.clock,
    ).catch(() => {})
  }

  /** Subscribes, and remembers the number after which no message may be missing. */
  async #attach(entry: Channel): Promise<void> {
    const { clock, redis } = this.#dependencies
    this.#subscriber ??= this.#connect()
    const confirmed = this.#subscriber.subscribe(entry.name)
    const late = (): Error => new PARAPET_KIT_STORE_TIMEOUT(CONNECT_DEADLINE_MS)
    await withDeadline(confirmed, CONNECT_DEADLINE_MS, late, clock)
    const published = Number((await redis.command('GET', entry.numberKey)) ?? 0)
    entry.received = entry.published = published
  }

  #connect(): RedisClientLike {
    const subscriber = this.#dependencies.client.duplicate()
    subscriber.on('message', (name: string, payload: string) => this.#receive(name, payload))
    subscriber.on('close', () => {
      for (const entry of this.#channels.values()) this.#interrupt(entry, 'the connection was lost')
    })
    subscriber.on('ready', () => {
      for (const entry of this.#channels.values()) if (entry.interrupted) void this.#resume(entry)
    })
    // An 'error' event without a listener ends the process; its effect arrives as 'close'.
    subscriber.on('error', () => {})
    return subscriber
  }

  #receive(name: string, payload: string): void {
    const entry = this.#channels.get(name)
    if (entry === undefined) return
    const colon = payload.indexOf(':')
    const number = Number(payload.slice(0, colon))
    if (number > entry.received + 1 && !entry.interrupted) {
      this.#interrupt(entry, 'messages were lost')
      this.#restore(entry)
    }
    // A lower number was in transit while the subscription was renewed.
    entry.received = Math.max(entry.received, number)
    this.#notify(entry, (listener) => listener.message(payload.slice(colon + 1)))
  }

  #scheduleHeartbeat(): () => void {
    return this.#dependencies.clock.schedule(
      this.#dependencies.heartbeatMs,
      () => void this.#beat(),
    )
  }

  async #beat(): Promise<void> {
    await Promise.all([...this.#channels.values()].map((entry) => this.#compare(entry)))
    if (!this.#closed) this.#cancelHeartbeat = this.#scheduleHeartbeat()
  }

  async #compare(entry: Channel): Promise<void> {
    if (entry.interrupted) {
      if (this.#subscriber?.status === 'ready') await this.#resume(entry)
      return
    }
    let published: number
    try {
      published = Number((await this.#dependencies.redis.command('GET', entry.numberKey)) ?? 0)
    } catch {
      this.#interrupt(entry, 'the server cannot be reached')
      return
    }
    if (published < entry.published) {
      this.#interrupt(entry, 'the server lost its data')
      await this.#resume(entry)
    } else if (entry.received < entry.published) {
      // Published before the last heartbeat and still not received: the subscription is dead.
      this.#interrupt(entry, 'messages were lost')
      this.#subscriber?.disconnect(true)
    }
    entry.published = published
  }

  async #resume(entry: Channel): Promise<void> {
    try {
      await this.#attach(entry)
      this.#restore(entry)
    } catch {
      // The next heartbeat tries again; until then the channel stays interrupted.
    }
  }

  #interrupt(entry: Channel, reason: string): void {
    if (entry.interrupted) return
    entry.interrupted = true
    this.#notify(entry, (listener) => listener.interrupted(reason))
  }

  #restore(entry: Channel): void {
    if (!entry.interrupted) return
    entry.interrupted = false
    this.#notify(entry, (listener) => listener.restored())
  }

  #notify(entry: Channel, notify: (listener: SubscriptionListener) => void): void {
    if (this.#channels.get(entry.name) !== entry) return
    for (const listener of entry.listeners) {
      try {
        notify(listener)
      } catch (error) {
        this.#dependencies.onError(error)
      }
    }
  }
}
