/**
 * Limits of a fleet: Redis decides. While it does not answer, this instance decides with its share of each
 * limit, and afterwards adds what it has admitted to the counters on Redis.
 */
import { createBreaker, type Breaker } from '@parapet/kit'
import type { Policy, Slot, SlotReading, Verdict } from '../limits/policy.ts'
import type { KnownBlock, LimitStore, StoreStatus, Target } from '../limits/store.ts'
import { ExpiringValues } from './expiring-values.ts'
import type { FleetSettings } from './fleet-settings.ts'
import { MemoryLimits } from './memory-limits.ts'
import { RedisExchange } from './redis-exchange.ts'
import { RedisLimits } from './redis-limits.ts'
import { takeUses } from './take-uses.ts'

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
  /** Local policies by those of the fleet. */
  readonly #shares = new Map<Policy, Policy>()
  /** The policies of the fleet by local ones. */
  readonly #full = new WeakMap<Policy, Policy>()
  /** Blocks that Redis has confirmed lately. */
  readonly #confirmed: ExpiringValues<true>
  #instances: number
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
    this.#confirmed = new ExpiringValues(maxKeys, () => this.#local.now())
    this.#instances = settings.instances
    this.#stopListening = this.#breaker.onStateChange((state) => {
      if (state === 'open') this.#degrade('the circuit breaker opened')
      // The probe is a heartbeat, so that no request waits for a Redis that is still down.
      else if (state === 'half-open') void this.#beat()
      else void this.#recover()
    })
  }

  get status(): StoreStatus {
    return {
      isDegraded: this.#breaker.state !== 'closed',
      keys: this.#local.status.keys,
      instances: this.#instances,
    }
  }

  async start(): Promise<void> {
    const { client, clock } = this.#settings
    if (client.status === 'wait') client.connect().catch(() => {})
    if (client.status !== 'ready') {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          cancel()
          client.off('ready', done)
          resolve()
        }
        const cancel = clock.schedule(START_MS, done)
        client.on('ready', done)
      })
    }
    await this.#beat()
    await this.#redis.load().catch(() => {})
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
      (verdict) => {
        for (const [index, reading] of verdict.readings.entries()) {
          if (reading.blockedUs > 0) this.#remember(slots[index]!, reading)
        }
        return verdict
      },
      () => this.#decideLocally(slots, lease),
    )
  }

  #remember(slot: Slot, { blockedUs, refusals }: SlotReading): void {
    this.#local.noteBlock(slot, blockedUs, refusals)
    this.#confirmed.set(slot.id, true, this.#settings.recheckMs)
  }

  #decideLocally(slots: readonly Slot[], lease: string): Verdict {
    const shares = slots.map((slot) => ({ ...slot, policy: this.#shareOf(slot.policy) }))
    return { ...this.#local.decide(shares, lease), isLocal: true }
  }

  #shareOf(policy: Policy): Policy {
    let share = this.#shares.get(policy)
    if (share === undefined) {
      share = this.#settings.shareOf(policy, this.#instances)
      this.#shares.set(policy, share)
      this.#full.set(share, policy)
    }
    return share
  }

  knownBlock(target: Target): KnownBlock | undefined {
    const isCurrent =
      this.#breaker.state !== 'closed' || this.#confirmed.get(target.id) !== undefined
    return isCurrent ? this.#local.knownBlock(target) : undefined
  }

  peek(slots: readonly Slot[]): Promise<readonly SlotReading[]> {
    const locally = (): Promise<readonly SlotReading[]> =>
      this.#local.peek(slots.map((slot) => ({ ...slot, policy: this.#shareOf(slot.policy) })))
    return this.#breaker.state === 'closed' ? this.#redis.peek(slots).catch(locally) : locally()
  }

  /** Only where it was consumed: elsewhere it would lift the limit. If Redis is down it stays consumed. */
  async refund(slots: readonly Slot[], verdict: Pick<Verdict, 'atUs' | 'isLocal'>): Promise<void> {
    if (verdict.isLocal) await this.#local.refund(slots, verdict)
    else await this.#redis.refund(slots, verdict).catch(() => {})
  }

  async release(slots: readonly Slot[], lease: string): Promise<void> {
    await this.#local.release(slots, lease)
    if (this.#breaker.state === 'closed') await this.#redis.release(slots, lease).catch(() => {})
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
    if (this.#degradedAt !== undefined || this.#closed) return
    this.#degradedAt = this.#local.now()
    this.#settings.listener.degraded(reason)
  }

  async #beat(): Promise<void> {
    this.#cancelHeartbeat?.()
    try {
      const alive = await this.#redis.heartbeat(this.#settings.instance, INSTANCE_LIFE_MS)
      const known = Math.max(alive, this.#settings.instances)
      if (known !== this.#instances) this.#shares.clear()
      this.#instances = known
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
    let merged = 0
    try {
      for (const batch of takeUses(this.#local, this.#full)) {
        await this.#redis.merge(batch, this.#local.now())
        merged += batch.length
      }
    } catch {
      // Redis is down again; what is left is merged after the next recovery.
    }
    if (!this.#closed) this.#settings.listener.recovered(downMs, merged)
  }
}
