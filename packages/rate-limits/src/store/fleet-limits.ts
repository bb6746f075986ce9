/**
 * Limits of a fleet: Redis decides. While it does not answer, this instance decides with its share of each
 * limit, and afterwards adds what it has admitted to the counters on Redis.
 */
import { createBreaker, type Breaker } from '@parapet/kit'
import { admits, waitOf, type Slot, type SlotReading, type Verdict } from '../limits/policy.ts'
import { Shares } from '../limits/shares.ts'
import type { LimitStore, StoreStatus, Target } from '../limits/store.ts'
import { ExpiringValues } from './expiring-values.ts'
import type { FleetSettings } from './fleet-settings.ts'
import { MemoryLimits } from './memory-limits.ts'
import { RedisExchange } from './redis-exchange.ts'
import { RedisLimits } from './redis-limits.ts'
import { Unsent } from './unsent.ts'

const HEARTBEAT_MS = 5000
/** An instance that has been silent for this long counts as gone. */
const INSTANCE_LIFE_MS = 16_000
/** Consecutive failures until Redis counts as down: fewer would take one slow reply for an outage. */
const FAILURES = 3
const COOLDOWN_MS = 1000
/** How long the start waits for the connection. */
const START_MS = 2000

export class FleetLimits implements LimitStore {
  readonly #settings: FleetSettings
  readonly #breaker: Breaker
  readonly #exchange: RedisExchange
  readonly #redis: RedisLimits
  readonly #local: MemoryLimits
  readonly #shares: Shares
  readonly #unsent: Unsent
  /** Refusals that Redis has confirmed lately. */
  readonly #confirmed: ExpiringValues<'block' | 'limit'>
  #degradedAt: number | undefined
  #closed = false
  #cancelHeartbeat: (() => void) | undefined
  readonly #stopListening: () => void

  constructor(settings: FleetSettings) {
    this.#settings = settings
    const { client, prefix, clock, deadlineMs, maxKeys, isClockInjected } = settings
    this.#breaker = createBreaker({ failureThreshold: FAILURES, cooldownMs: COOLDOWN_MS, clock })
    this.#exchange = new RedisExchange(client, this.#breaker, deadlineMs, clock)
    const nowUs = isClockInjected ? () => Math.round(clock.now() * 1000) : () => -1
    this.#redis = new RedisLimits(this.#exchange, prefix, nowUs)
    this.#local = new MemoryLimits(clock, maxKeys)
    this.#shares = new Shares(settings.shareOf, settings.instances, INSTANCE_LIFE_MS * 1000)
    this.#unsent = new Unsent(this.#local, this.#redis, this.#shares)
    this.#confirmed = new ExpiringValues(maxKeys, () => this.#local.now())
    this.#stopListening = this.#breaker.onStateChange((state) => {
      if (state === 'open') this.#degrade(this.#exchange.reason)
      // The probe is a heartbeat, so that no request waits for a Redis that is still down.
      else if (state === 'half-open') void this.#beat()
      else void this.#recover()
    })
  }

  get status(): StoreStatus {
    return {
      isDegraded: this.#breaker.state !== 'closed',
      keys: this.#local.status.keys,
      instances: this.#shares.instances,
    }
  }

  async start(): Promise<void> {
    await this.#exchange.connect(START_MS)
    await this.#beat()
    await this.#redis.load().catch(() => {})
    // A server that does not tell is not down.
    const policy = await this.#redis.evictionPolicy().catch(() => undefined)
    if (policy !== undefined) this.#settings.listener.evicts(policy)
  }

  close(): void {
    this.#closed = true
    this.#cancelHeartbeat?.()
    this.#stopListening()
    this.#exchange.close()
  }

  decide(slots: readonly Slot[], lease: string): Verdict | Promise<Verdict> {
    if (this.#breaker.state !== 'closed') return this.#decideLocally(slots, lease)
    return this.#redis.decide(slots, lease).then(
      (verdict) => ({
        ...verdict,
        readings: verdict.readings.map((reading, index) => this.#remember(slots[index]!, reading)),
      }),
      () => this.#decideLocally(slots, lease),
    )
  }

  /** What Redis refuses is refused here too, should Redis go down; what it admits is not. */
  #remember(slot: Slot, reading: SlotReading): SlotReading {
    if (admits(reading)) this.#local.liftRefusal(slot)
    if (admits(reading) || reading.outcome === 'in-flight') return reading
    const [share] = this.#shares.of([slot])
    const refusals = this.#local.noteRefusal(share!, waitOf(reading), reading.refusals)
    const kind = reading.blockedUs > 0 ? 'block' : 'limit'
    this.#confirmed.set(slot.id, kind, this.#settings.recheckMs)
    return { ...reading, refusals }
  }

  #decideLocally(slots: readonly Slot[], lease: string): Verdict {
    this.#unsent.addUses()
    return { ...this.#local.decide(this.#shares.of(slots), lease), isLocal: true }
  }

  knownRefusal(slot: Slot, also: 'block' | 'limit'): SlotReading | undefined {
    if (this.#breaker.state !== 'closed') {
      return this.#local.knownRefusal(this.#shares.of([slot])[0]!, also)
    }
    const confirmed = this.#confirmed.get(slot.id)
    if (confirmed === undefined || (confirmed === 'limit' && also === 'block')) return undefined
    const known = this.#local.knownRefusal(slot, 'block')
    if (known === undefined) return undefined
    const { blockedUs } = known
    // The counts are in Redis; only how long the key is refused is known here.
    const bounds = known.bounds.map((bound) => ({
      ...bound,
      remaining: 0,
      resetUs: blockedUs,
      retryUs: blockedUs,
    }))
    return { ...known, bounds }
  }

  peek(slots: readonly Slot[]): Promise<readonly SlotReading[]> {
    const locally = (): Promise<readonly SlotReading[]> => this.#local.peek(this.#shares.of(slots))
    return this.#breaker.state === 'closed' ? this.#redis.peek(slots).catch(locally) : locally()
  }

  /** Only where it was consumed: elsewhere it would lift the limit. If Redis is down it stays consumed. */
  async refund(slots: readonly Slot[], verdict: Pick<Verdict, 'atUs' | 'isLocal'>): Promise<void> {
    if (verdict.isLocal) await this.#local.refund(slots, verdict)
    else await this.#redis.refund(slots, verdict).catch(() => {})
  }

  async release(slots: readonly Slot[], lease: string): Promise<void> {
    await this.#local.release(slots, lease)
    // Also if this instance decided alone: the call that passed the deadline may be executed later.
    await this.#unsent.release(slots, lease, this.#breaker.state === 'closed')
  }

  async prove(proofs: readonly string[], ttlMs: number): Promise<void> {
    await this.#local.prove(proofs, ttlMs)
    await this.#redis.prove(proofs, ttlMs).catch(() => {})
  }

  async tighten(component: string, factor: number, ttlMs: number): Promise<void> {
    await this.#local.tighten(component, factor, ttlMs)
    await this.#redis.tighten(component, factor, ttlMs)
  }

  async clear(targets: readonly Target[], all: boolean): Promise<void> {
    for (const { id } of targets) this.#confirmed.delete(id)
    await this.#local.clear(targets, all)
    await this.#redis.clear(targets, all)
  }

  #degrade(reason: string): void {
    this.#shares.forgetAlive()
    if (this.#degradedAt !== undefined || this.#closed) return
    this.#degradedAt = this.#local.now()
    this.#settings.listener.degraded(reason)
  }

  async #beat(): Promise<void> {
    this.#cancelHeartbeat?.()
    try {
      const alive = await this.#redis.heartbeat(this.#settings.instance, INSTANCE_LIFE_MS)
      this.#shares.count(alive, this.#local.now())
      if (this.#breaker.state === 'closed' && this.#degradedAt === undefined) {
        await this.#unsent.send()
      }
    } catch {
      // The breaker has noted it.
    }
    if (this.#closed) return
    this.#cancelHeartbeat = this.#settings.clock.schedule(HEARTBEAT_MS, () => void this.#beat())
  }

  async #recover(): Promise<void> {
    if (this.#degradedAt === undefined) return
    const downMs = Math.round((this.#local.now() - this.#degradedAt) / 1000)
    this.#degradedAt = undefined
    const merged = await this.#unsent.send()
    if (!this.#closed) this.#settings.listener.recovered(downMs, merged)
  }
}
