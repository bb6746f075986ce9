/**
 * Publish and subscribe over Redis, which forgets whoever is not listening. Each message carries
 * the number that Redis gave it, and a heartbeat compares the last number heard with the last one
 * given, so that a lost message, a dead connection and a flushed server are noticed and told.
 */
import type { Clock } from './clock.ts'
import { withDeadline } from './deadline.ts'
import { PARAPET_KIT_STORE_TIMEOUT, PARAPET_KIT_STORE_UNAVAILABLE } from './errors.ts'
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
  /** Whether Redis has confirmed the subscription, once and for all its listeners. */
  attached: Promise<void> | undefined
  /** The number of the last message heard. */
  heard: number
  /** The last number given out, as of the heartbeat before. */
  given: number
  interrupted: boolean
}

/** How long the number of a silent channel is kept; after that it starts again, which reads as a loss. */
const NUMBER_TTL_MS = 2_592_000_000
/** Making the subscriber's connection may take longer than a single call. */
const CONNECT_DEADLINE_MS = 5000

export class RedisSubscriptions {
  readonly #to: Dependencies
  /** By their name in Redis. */
  readonly #channels = new Map<string, Channel>()
  #subscriber: RedisClientLike | undefined
  #cancelHeartbeat: (() => void) | undefined
  #closed = false

  constructor(dependencies: Dependencies) {
    this.#to = dependencies
  }

  async publish(channel: string, message: string): Promise<void> {
    const { name, numberKey } = this.#namesOf(channel)
    await this.#to.redis.script(PUBLISH, numberKey, name, message, NUMBER_TTL_MS)
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
        heard: 0,
        given: 0,
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
    const { prefix } = this.#to
    return { name: `${prefix}channel:${channel}`, numberKey: `${prefix}channel-number:${channel}` }
  }

  async #remove(entry: Channel, listener: SubscriptionListener): Promise<void> {
    if (!entry.listeners.delete(listener) || entry.listeners.size > 0) return
    if (!this.#channels.delete(entry.name)) return
    // Without a connection there is nothing left to unsubscribe from.
    if (this.#subscriber?.status !== 'ready') return
    // A server that does not answer must not hold up whoever closes; nobody listens any more.
    const told = this.#subscriber.unsubscribe(entry.name)
    const late = (): Error => new PARAPET_KIT_STORE_TIMEOUT(this.#to.heartbeatMs)
    await withDeadline(told, this.#to.heartbeatMs, late, this.#to.clock).catch(() => {})
  }

  /** Listens, and takes note of the number from which on nothing may be missing. */
  async #attach(entry: Channel): Promise<void> {
    const { clock, redis } = this.#to
    this.#subscriber ??= this.#connect()
    const confirmed = this.#subscriber.subscribe(entry.name)
    const late = (): Error => new PARAPET_KIT_STORE_TIMEOUT(CONNECT_DEADLINE_MS)
    await withDeadline(confirmed, CONNECT_DEADLINE_MS, late, clock)
    const given = Number((await redis.command('GET', entry.numberKey)) ?? 0)
    entry.heard = entry.given = given
  }

  #connect(): RedisClientLike {
    const subscriber = this.#to.client.duplicate()
    subscriber.on('message', (name: string, payload: string) => this.#receive(name, payload))
    subscriber.on('close', () => {
      for (const entry of this.#channels.values()) this.#interrupt(entry, 'the connection was lost')
    })
    subscriber.on('ready', () => {
      for (const entry of this.#channels.values()) if (entry.interrupted) void this.#resume(entry)
    })
    // Without a listener an 'error' would end the process; what it means is heard as 'close'.
    subscriber.on('error', () => {})
    return subscriber
  }

  #receive(name: string, payload: string): void {
    const entry = this.#channels.get(name)
    if (entry === undefined) return
    const colon = payload.indexOf(':')
    const number = Number(payload.slice(0, colon))
    if (number > entry.heard + 1 && !entry.interrupted) {
      this.#interrupt(entry, 'messages were lost')
      this.#restore(entry)
    }
    // A lower number was under way while the connection was attached anew.
    entry.heard = Math.max(entry.heard, number)
    this.#tell(entry, (listener) => listener.message(payload.slice(colon + 1)))
  }

  #scheduleHeartbeat(): () => void {
    return this.#to.clock.schedule(this.#to.heartbeatMs, () => void this.#beat())
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
    let given: number
    try {
      given = Number((await this.#to.redis.command('GET', entry.numberKey)) ?? 0)
    } catch {
      this.#interrupt(entry, 'the server cannot be reached')
      return
    }
    if (given < entry.given) {
      this.#interrupt(entry, 'the server lost its data')
      await this.#resume(entry)
    } else if (entry.heard < entry.given) {
      // Given out a whole beat ago and still not heard: the subscription is dead, if not the connection.
      this.#interrupt(entry, 'messages were lost')
      this.#subscriber?.disconnect(true)
    }
    entry.given = given
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
    this.#tell(entry, (listener) => listener.interrupted(reason))
  }

  #restore(entry: Channel): void {
    if (!entry.interrupted) return
    entry.interrupted = false
    this.#tell(entry, (listener) => listener.restored())
  }

  #tell(entry: Channel, tell: (listener: SubscriptionListener) => void): void {
    if (this.#channels.get(entry.name) !== entry) return
    for (const listener of entry.listeners) {
      try {
        tell(listener)
      } catch (error) {
        this.#to.onError(error)
      }
    }
  }
}
