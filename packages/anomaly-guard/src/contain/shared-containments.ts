/**
 * Shares containments between instances: each is a member of a set in the store, and is published. A lift is
 * a member of a second set, so that an instance that missed the message, or an older copy of the set, does not
 * bring a lifted containment back.
 */
import { followSharedState, type Clock, type SharedState, type Store } from '@parapet/kit'
import type { ActiveContainments } from './active.ts'
import { blockOf } from './address.ts'
import { formatTarget, parseContainment, slotOf, type Containment } from './containment.ts'

/** A containment that was ended before its time. */
export interface Lift {
  readonly id: string
  readonly slot: string
  /** Formatted target, see `formatTarget`. */
  readonly target: string
  /** Until when the guard does not contain the target by itself. */
  readonly graceUntil: number
  /** Until when the lift has to be remembered: the end of the containment or of the grace. */
  readonly until: number
}

/** See {@link shareContainments}. */
export interface SharingSettings {
  readonly store: Store
  readonly clock: Clock
  readonly active: ActiveContainments
  readonly onError: (error: unknown) => void
  /** Called for each containment that another instance made. */
  readonly onReceived?: (containment: Containment) => void
}

/** The shared state of one instance. */
export interface SharedContainments {
  start(): Promise<void>
  stop(): Promise<void>
  /** Makes a containment known, here at once. Rejects where the store fails; it is shared later. */
  announce(containment: Containment): Promise<void>
  lift(lift: Lift): Promise<void>
  /** Until when a target is spared; 0 where it is not. */
  graceOf(target: string): number
  readonly isCurrent: boolean
}

const CHANNEL = 'anomaly-guard:contained'
const LIFTED = 'anomaly-guard:lifted'
const MAX_MEMBERS = 100_000
/** A set of the store has at most 100 000 members. */
const SHARDS = 16
/** Repairs what a lost message left different. */
const REFRESH_MS = 60_000

/** Creates the sharing. It does nothing before `start`. */
export function shareContainments(settings: SharingSettings): SharedContainments {
  return new Sharing(settings)
}

class Sharing implements SharedContainments {
  readonly #settings: SharingSettings
  readonly #shared: SharedState
  readonly #lifts = new Map<string, Lift>()
  readonly #grace = new Map<string, number>()

  constructor(settings: SharingSettings) {
    this.#settings = settings
    const { store, clock, onError } = settings
    this.#shared = followSharedState({
      store,
      clock,
      channel: CHANNEL,
      load: () => this.#load(),
      receive: (message) => this.#receive(message),
      share: (message) => this.#share(message),
      refreshMs: REFRESH_MS,
      onError,
    })
  }

  get isCurrent(): boolean {
    return this.#shared.isCurrent
  }

  start(): Promise<void> {
    return this.#shared.start()
  }

  stop(): Promise<void> {
    return this.#shared.stop()
  }

  announce(containment: Containment): Promise<void> {
    this.#apply(containment)
    const keepMs = containment.until - this.#settings.clock.now()
    return this.#shared.announce(`+${JSON.stringify(containment)}`, keepMs)
  }

  lift(lift: Lift): Promise<void> {
    this.#applyLift(lift)
    return this.#shared.announce(
      `-${JSON.stringify(lift)}`,
      lift.until - this.#settings.clock.now(),
    )
  }

  graceOf(target: string): number {
    return this.#grace.get(target) ?? 0
  }

  #receive(message: string): void {
    if (message.startsWith('-')) {
      const lift = parseLift(message.slice(1))
      if (lift !== undefined) this.#applyLift(lift)
      return
    }
    const containment = parseContainment(message.slice(1))
    if (containment !== undefined && this.#apply(containment)) {
      this.#settings.onReceived?.(containment)
    }
  }

  /** @returns whether it is news. */
  #apply(containment: Containment): boolean {
    const { active, clock } = this.#settings
    const { id, kind, target, until } = containment
    if (this.#lifts.has(id) || until <= clock.now()) return false
    if (target.type === 'address' && typeof blockOf(target.value) === 'string') return false
    const present = active.inSlot(slotOf(kind, target))
    // Ids are ordered by time: the later decision holds.
    const isFinal = present !== undefined && present.isProvisional !== true
    if (isFinal && present.until > clock.now() && present.id >= id) return false
    active.put(containment)
    return true
  }

  #applyLift(lift: Lift): void {
    const now = this.#settings.clock.now()
    for (const [id, { until }] of this.#lifts) {
      if (until > now && this.#lifts.size < MAX_MEMBERS) break
      this.#lifts.delete(id)
    }
    this.#lifts.set(lift.id, lift)
    if (lift.graceUntil > now) this.#grace.set(lift.target, lift.graceUntil)
    for (const [target, until] of this.#grace) if (until <= now) this.#grace.delete(target)
    const present = this.#settings.active.inSlot(lift.slot)
    if (present?.id === lift.id || present?.isProvisional === true) {
      this.#settings.active.remove(present)
    }
  }

  async #share(message: string): Promise<void> {
    const { store, clock } = this.#settings
    const text = message.slice(1)
    const { id, until } = JSON.parse(text) as { readonly id: string; readonly until: number }
    const ttlMs = until - clock.now()
    if (ttlMs <= 0) return
    const key = message.startsWith('-') ? LIFTED : shardOf(id)
    await store.addMember(key, text, { ttlMs, maxMembers: MAX_MEMBERS })
    await store.publish(CHANNEL, message)
  }

  /** Adopts what the store has, and gives back what it has lost. */
  async #load(): Promise<void> {
    const { store, active, clock } = this.#settings
    const lifts = await store.members(LIFTED)
    for (const text of lifts) {
      const lift = parseLift(text)
      if (lift !== undefined && !this.#lifts.has(lift.id)) this.#applyLift(lift)
    }
    const known = new Set<string>()
    for (let shard = 0; shard < SHARDS; shard++) {
      for (const text of await store.members(`${CHANNEL}:${shard}`)) {
        const containment = parseContainment(text)
        if (containment === undefined) continue
        known.add(containment.id)
        this.#apply(containment)
      }
    }
    const lost = active
      .list(clock.now())
      .filter(({ id, isProvisional }) => isProvisional !== true && !known.has(id))
    for (const containment of lost) await this.#share(`+${JSON.stringify(containment)}`)
  }
}

function shardOf(id: string): string {
  return `${CHANNEL}:${Number.parseInt(id.slice(-1), 16) % SHARDS || 0}`
}

function parseLift(text: string): Lift | undefined {
  try {
    const lift = JSON.parse(text) as Lift
    const { id, slot, target, graceUntil, until } = lift
    const isValid =
      [id, slot, target].every((each) => typeof each === 'string') &&
      [graceUntil, until].every((each) => Number.isSafeInteger(each))
    return isValid ? lift : undefined
  } catch {
    return undefined
  }
}

/** The lift of a containment. */
export function createLift(containment: Containment, now: number, graceMs: number): Lift {
  const { id, kind, target, until } = containment
  const graceUntil = now + graceMs
  return {
    id,
    slot: slotOf(kind, target),
    target: formatTarget(target),
    graceUntil,
    until: Math.max(until, graceUntil),
  }
}
