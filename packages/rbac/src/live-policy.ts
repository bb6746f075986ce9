/**
 * The policy in force: one engine at a time, swapped whole, followed across the fleet, and not
 * trusted when the fleet has been silent for too long.
 */
import type { Clock, Store } from '@parapet/kit'
import { wordsFor, mergeBits } from './bits.ts'
import { decodePolicy, encodePolicy } from './document.ts'
import { Engine } from './engine.ts'
import {
  PARAPET_RBAC_CONFLICT,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_SEPARATION_OF_DUTY,
  PARAPET_RBAC_STALE,
} from './errors.ts'
import { brokenDuty, createModel, type Model } from './model.ts'
import {
  MAX_GRANTS,
  type PolicyChange,
  type PolicyState,
  type PolicyStore,
  type TimedGrant,
} from './policy-store.ts'
import type { PolicyDocument } from './policy-types.ts'

/** What {@link LivePolicy} needs. */
export interface LivePolicySettings {
  readonly policyStore: PolicyStore
  /** Carries the news of a change; without it instances notice within `refreshMs`. */
  readonly store: Store | undefined
  readonly clock: Clock
  readonly refreshMs: number
  /** Infinity where the policy store lives in this process. */
  readonly maxStalenessMs: number
  /** Is told what went wrong in the background. */
  readonly onError: (error: unknown) => void
  /** Runs as part of the swap, before anybody can see the new engine. */
  readonly onSwap: (engine: Engine) => void
}

const CHANNEL = 'rbac:policy'
const MAX_NAME_LENGTH = 512

/** Follows the policy store. */
export class LivePolicy {
  readonly #settings: LivePolicySettings
  #engine: Engine
  #revision = -1
  #grants: ReadonlyMap<string, readonly TimedGrant[]> = new Map()
  #contactAt: number
  #running: Promise<void> | undefined
  #queued: Promise<void> | undefined
  #published = false
  #closed = false
  #cancelTimer = (): void => {}
  #unsubscribe: (() => Promise<void>) | undefined

  private constructor(settings: LivePolicySettings, engine: Engine) {
    this.#settings = settings
    this.#engine = engine
    this.#contactAt = settings.clock.now()
  }

  /**
   * Reads the store, or seeds an empty one, and starts to follow it.
   *
   * @throws whatever the store throws: an instance that cannot learn the policy does not start.
   */
  static async open(settings: LivePolicySettings, seed: PolicyDocument): Promise<LivePolicy> {
    const live = new LivePolicy(settings, new Engine(createModel(seed)))
    await live.#load()
    if (!live.#published) await live.#seed(seed)
    if (settings.store !== undefined) await live.#follow(settings.store)
    live.#arm()
    return live
  }

  /** The engine in force. Keep it for a whole request, so that no request sees two policies. */
  get engine(): Engine {
    return this.#engine
  }

  /** Counts every change that this instance has taken over. */
  get revision(): number {
    return this.#revision
  }

  /** Whether the store has been silent for too long. */
  get stale(): boolean {
    const { maxStalenessMs, clock } = this.#settings
    if (maxStalenessMs === Infinity) return false
    // A clock that was set back says as little about the last contact as one that ran on.
    return Math.abs(clock.now() - this.#contactAt) > maxStalenessMs
  }

  /** The roles that a principal has for a time, and has now; `undefined`: none. */
  grantedTo(principalId: string): readonly string[] | undefined {
    if (this.#grants.size === 0) return undefined
    const grants = this.#grants.get(principalId)
    if (grants === undefined) return undefined
    const now = this.#settings.clock.now()
    const roles = grants.filter(({ until }) => until > now).map(({ role }) => role)
    return roles.length === 0 ? undefined : roles
  }

  /** The grants for a time that hold now. */
  grants(): readonly TimedGrant[] {
    const now = this.#settings.clock.now()
    return [...this.#grants.values()].flat().filter(({ until }) => until > now)
  }

  /** Asks the store now. Resolves when this instance is up to date. @throws what the store throws. */
  async refresh(): Promise<void> {
    if (this.#running === undefined) return this.#start()
    // Whoever asks during a reading wants one that starts later; one is enough for all of them.
    this.#queued ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#queued = undefined
        return this.#start()
      })
    return this.#queued
  }

  /** @returns the engine that was in force. @throws PARAPET_RBAC_CONFLICT */
  async publish(engine: Engine): Promise<Engine> {
    const previous = this.#engine
    const policy = encodePolicy(engine.model.policy)
    await this.#change({ kind: 'publish', policy, digest: engine.digest })
    return previous
  }

  /**
   * Gives a role for a time.
   *
   * @param held roles that the principal is known to have already.
   */
  async grant(grant: TimedGrant, held: readonly string[]): Promise<void> {
    const { principalId, role, until } = grant
    requireGrant(this.#engine.model, grant, this.#settings.clock.now())
    if (this.grants().length >= MAX_GRANTS) {
      throw new PARAPET_RBAC_INVALID_ARGUMENT('grants', `are at most ${MAX_GRANTS}`)
    }
    const roles = [...held, ...(this.grantedTo(principalId) ?? []), role]
    const duty = brokenDuty(this.#engine.model, closureOf(this.#engine.model, roles))
    if (duty !== undefined) throw new PARAPET_RBAC_SEPARATION_OF_DUTY(duty.id)
    await this.#change({ kind: 'grant', grant: { principalId, role, until } })
  }

  async revoke(principalId: string, role: string): Promise<void> {
    await this.#change({ kind: 'revoke', principalId, role })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer()
    await this.#unsubscribe?.().catch(this.#settings.onError)
  }

  /** Of several instances that start at once one seeds, and the others read what it wrote. */
  async #seed(seed: PolicyDocument): Promise<void> {
    const { policyStore, clock } = this.#settings
    const policy = encodePolicy(seed)
    const change = { kind: 'publish', policy, digest: this.#engine.digest } as const
    await policyStore.change(change, this.#revision, clock.now())
    await this.#load()
  }

  async #change(change: PolicyChange): Promise<void> {
    const { policyStore, store, clock, onError } = this.#settings
    const revision = await policyStore.change(change, this.#revision, clock.now())
    try {
      // Whoever lost has to look at what won, so this instance reads it first.
      await this.refresh()
    } finally {
      // The change is made; should the news get lost, the others notice within `refreshMs`.
      if (revision !== null) await store?.publish(CHANNEL, String(revision)).catch(onError)
    }
    if (revision === null) throw new PARAPET_RBAC_CONFLICT()
  }

  #start(): Promise<void> {
    this.#running = this.#load().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #load(): Promise<void> {
    const { policyStore, clock } = this.#settings
    const asked = clock.now()
    const state = await this.#answerInTime(policyStore.load(this.#revision))
    // Also an older one: a store that was restored from a backup is still what the fleet agrees on.
    if (state !== null) this.#adopt(state)
    this.#contactAt = asked
  }

  /** A store that never answers must not keep this instance from asking again. */
  async #answerInTime<T>(answer: Promise<T>): Promise<T> {
    const { clock, maxStalenessMs } = this.#settings
    if (maxStalenessMs === Infinity) return answer
    return new Promise<T>((resolve, reject) => {
      const cancel = clock.schedule(maxStalenessMs, () => reject(new PARAPET_RBAC_STALE()))
      answer.then(resolve, reject).finally(cancel)
    })
  }

  /** Everything that can fail comes first; then all of it is in force at once. */
  #adopt({ revision, policy, grants }: PolicyState): void {
    if (policy !== null && policy !== encodePolicy(this.#engine.model.policy)) {
      const engine = new Engine(createModel(decodePolicy(policy)))
      this.#settings.onSwap(engine)
      this.#engine = engine
    }
    this.#grants = groupByPrincipal(grants)
    this.#published = policy !== null
    this.#revision = revision
  }

  async #follow(store: Store): Promise<void> {
    const refresh = (): void => {
      this.refresh().catch(this.#settings.onError)
    }
    this.#unsubscribe = await store.subscribe(CHANNEL, {
      message: refresh,
      // The timer goes on asking, and staleness sets in by itself.
      interrupted: () => {},
      restored: refresh,
    })
  }

  #arm(): void {
    const { clock, refreshMs, maxStalenessMs, onError } = this.#settings
    if (maxStalenessMs === Infinity || this.#closed) return
    this.#cancelTimer = clock.schedule(refreshMs, () => {
      this.refresh()
        .catch((error: unknown) => {
          if (!this.#closed) onError(error)
        })
        .finally(() => this.#arm())
    })
  }
}

function groupByPrincipal(
  grants: readonly TimedGrant[],
): ReadonlyMap<string, readonly TimedGrant[]> {
  const groups = new Map<string, TimedGrant[]>()
  for (const grant of grants) {
    const group = groups.get(grant.principalId)
    if (group === undefined) groups.set(grant.principalId, [grant])
    else group.push(grant)
  }
  return groups
}

function requireGrant(model: Model, { principalId, role, until }: TimedGrant, now: number): void {
  if (!model.roleIds.has(role)) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(`the role "${role}"`, 'is not declared in the policy')
  }
  if (
    typeof principalId !== 'string' ||
    principalId === '' ||
    principalId.length > MAX_NAME_LENGTH
  ) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      'principalId',
      `must have 1 to ${MAX_NAME_LENGTH} characters`,
    )
  }
  if (!Number.isSafeInteger(until) || until <= now) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT(
      'until',
      'must lie in the future, in milliseconds since the epoch',
    )
  }
}

function closureOf(model: Model, roles: readonly string[]): Uint32Array {
  const held = new Uint32Array(wordsFor(model.roleNames.length))
  for (const name of roles) {
    const role = model.roleIds.get(name)
    if (role !== undefined) mergeBits(held, model.closure, role * model.closureWords)
  }
  return held
}
