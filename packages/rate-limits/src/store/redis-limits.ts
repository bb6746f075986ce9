/** Limits on Redis: each decision is one script call, whatever the number of slots and bounds. */
import {
  OUTCOMES,
  longestWindow,
  type Policy,
  type Slot,
  type SlotReading,
  type Verdict,
} from '../limits/policy.ts'
import { boundedCost } from '../limits/state.ts'
import type { Target } from '../limits/store.ts'
import { DECIDE } from './decide-script.ts'
import type { RedisExchange } from './redis-exchange.ts'
import { HEARTBEAT, MERGE, REFUND, UNBLOCK } from './redis-scripts.ts'

export class RedisLimits {
  readonly #redis: RedisExchange
  readonly #prefix: string
  /** The time that scripts get; -1: the server's clock. */
  readonly #nowUs: () => number

  constructor(redis: RedisExchange, prefix: string, nowUs: () => number) {
    this.#redis = redis
    // One hash tag: all keys of a decision are in one slot of a cluster.
    this.#prefix = `{${prefix}rate-limits}:`
    this.#nowUs = nowUs
  }

  decide(slots: readonly Slot[], lease: string): Promise<Verdict> {
    return this.#ask(slots, lease, 1)
  }

  async peek(slots: readonly Slot[]): Promise<readonly SlotReading[]> {
    return (await this.#ask(slots, '', 0)).readings
  }

  #ask(slots: readonly Slot[], lease: string, deciding: 0 | 1): Promise<Verdict> {
    const keys = slots.map(({ id }) => this.#prefix + id)
    let numbers = `${deciding} ${slots.length}`
    for (const slot of slots) numbers += this.#describe(slot, keys)
    return this.#redis.run(DECIDE, keys, [this.#nowUs(), numbers, lease]).then((reply) => {
      const [allowed, atUs] = reply as number[]
      const readings = readReply(reply as number[], slots)
      return { allowed: allowed === 1, atUs: atUs!, readings, isLocal: false }
    })
  }

  /** The numbers of a slot; its further keys are added to `keys`. */
  #describe({ policy, cost, components, address, proof, id }: Slot, keys: string[]): string {
    const flights = policy.maxInFlight > 0 ? keys.push(`${this.#prefix}running ${id}`) : 0
    const proven = proof === undefined ? 0 : keys.push(`${this.#prefix}proof ${proof}`)
    const tightenable = address === undefined ? components : [...components, address]
    let numbers = ` ${cost} ${flights} ${proven} ${tightenable.length}`
    for (const component of tightenable) {
      // Tiers of one request share components, most of all its address.
      const factor = this.#factorKey(component)
      const known = keys.indexOf(factor) + 1
      numbers += ` ${known === 0 ? keys.push(factor) : known}`
    }
    return numbers + textOf(policy)
  }

  #factorKey(component: string): string {
    return `${this.#prefix}factor ${component}`
  }

  async refund(slots: readonly Slot[], { atUs }: Pick<Verdict, 'atUs'>): Promise<void> {
    await Promise.all(
      slots.map(({ id, policy, cost }) => {
        const exact = policy.algorithm === 'exact' ? 1 : 0
        const units = boundedCost(cost, policy.bounds)
        const args = [this.#nowUs(), exact, units, atUs, longestWindow(policy)]
        return this.#redis.run(REFUND, [this.#prefix + id], args)
      }),
    )
  }

  async release(slots: readonly Slot[], lease: string): Promise<void> {
    const limited = slots.filter(({ policy }) => policy.maxInFlight > 0)
    await Promise.all(
      limited.map(({ id }) => this.#redis.command('ZREM', `${this.#prefix}running ${id}`, lease)),
    )
  }

  async prove(proofs: readonly string[], ttlMs: number): Promise<void> {
    await Promise.all(
      proofs.map((each) =>
        this.#redis.command('SET', `${this.#prefix}proof ${each}`, '1', 'PX', ttlMs),
      ),
    )
  }

  async tighten(component: string, factor: number, ttlMs: number): Promise<void> {
    await this.#redis.command('SET', this.#factorKey(component), `${factor}`, 'PX', ttlMs)
  }

  async clear(targets: readonly Target[], all: boolean): Promise<void> {
    if (targets.length === 0) return
    const keys = targets.map(({ id }) => this.#prefix + id)
    const running = targets.map(({ id }) => `${this.#prefix}running ${id}`)
    if (all) await this.#redis.command('DEL', ...keys, ...running)
    const facts = targets.flatMap(({ policy }) => [
      policy.algorithm === 'exact' ? 1 : 0,
      longestWindow(policy),
    ])
    await this.#redis.run(UNBLOCK, keys, [this.#nowUs(), ...facts])
  }

  /**
   * Notes that this instance is alive. It decides a request first, so that a Redis which answers and cannot
   * decide, for instance because its memory is full, is not taken for one that is back.
   *
   * @returns how many instances are alive.
   */
  async heartbeat(instance: string, lifeMs: number): Promise<number> {
    await this.decide([PROBE], '')
    const args = [this.#nowUs(), lifeMs * 1000, instance]
    return (await this.#redis.run(HEARTBEAT, [`${this.#prefix}instances`], args)) as number
  }

  /** Loads the scripts of requests, so that the first ones do not send their source. */
  async load(): Promise<void> {
    const unused = [`${this.#prefix}unused`]
    await this.#redis.run(DECIDE, unused, [this.#nowUs(), '0 0', ''])
    await this.#redis.run(REFUND, unused, [this.#nowUs(), 0, 0, 0, 0])
  }

  /** The policy by which the server drops keys before they expire; `undefined`: it drops none, or does not say. */
  async evictionPolicy(): Promise<string | undefined> {
    const info = String(await this.#redis.command('INFO', 'memory'))
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
    // Without a limit nothing is ever dropped.
    const limit = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0)
    return limit > 0 && policy !== 'noeviction' ? policy : undefined
  }

  /** Adds uses that were counted elsewhere. @param numbers of each key, as the script describes them. */
  async merge(ids: readonly string[], numbers: readonly number[]): Promise<void> {
    const keys = ids.map((id) => this.#prefix + id)
    await this.#redis.runInBackground(MERGE, keys, [this.#nowUs(), ...numbers])
  }
}

const PROBE: Slot = {
  id: 'probe',
  policy: {
    tier: 'probe',
    algorithm: 'gcra',
    bounds: [{ limit: 1_000_000, windowUs: 60_000_000 }],
    blockUs: 0,
    maxInFlight: 0,
    leaseUs: 0,
    isEnforced: false,
  },
  cost: 1,
  components: [],
  proof: undefined,
}

/** The numbers of a policy, as text. */
const policyTexts = new WeakMap<Policy, string>()

function textOf(policy: Policy): string {
  let text = policyTexts.get(policy)
  if (text === undefined) {
    const { algorithm, blockUs, isEnforced, maxInFlight, leaseUs, bounds } = policy
    const exact = algorithm === 'exact' ? 1 : 0
    const pairs = bounds.map(({ limit, windowUs }) => `${limit} ${windowUs}`)
    text = ` ${exact} ${blockUs} ${isEnforced ? 1 : 0} ${maxInFlight} ${leaseUs} ${bounds.length} ${pairs.join(' ')}`
    policyTexts.set(policy, text)
  }
  return text
}

function readReply(reply: readonly number[], slots: readonly Slot[]): SlotReading[] {
  let at = 2
  const next = (): number => reply[at++]!
  return slots.map(({ policy }) => ({
    outcome: OUTCOMES[next()]!,
    blockedUs: next(),
    refusals: next(),
    bounds: policy.bounds.map(({ windowUs }) => ({
      limit: next(),
      windowUs,
      remaining: next(),
      resetUs: next(),
      retryUs: next(),
    })),
  }))
}
