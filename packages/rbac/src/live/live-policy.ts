/**
 * The policy in force: loaded from the policy store, replaced as a whole when another instance
 * publishes, and not trusted if the store is out of contact for too long.
 */
import {
  conflict,
  followSharedState,
  retryConflicts,
  type Clock,
  type SharedState,
  type Store,
} from '@parapet/kit'
import { Engine } from '../decide/engine.ts'
import type { PolicyInForce } from '../decide/policy-in-force.ts'
import { PARAPET_RBAC_CONFLICT } from '../errors.ts'
import { compilePolicy } from '../policy/compile-policy.ts'
import { decodePolicy, encodePolicy } from '../policy/encode-policy.ts'
import type { PolicyDocument } from '../policy/policy-types.ts'
import { requireGrant, TimedGrants } from './grants.ts'
import { LimitedStore } from './limited-store.ts'
import type {
  PolicyChange,
  PolicyMark,
  PolicyState,
  PolicyStore,
  TimedGrant,
} from './policy-store.ts'

/** See {@link LivePolicy.open}. */
export interface LivePolicySettings {
  readonly policyStore: PolicyStore
  /** Notifies other instances of a change. Without it they notice within `refreshMs`. */
  readonly store: Store | undefined
  readonly clock: Clock
  readonly refreshMs: number
  /** `Infinity` if the policy store is in this process. */
  readonly maxStalenessMs: number
  /** Receives errors of background work. */
  readonly onError: (error: unknown) => void
}

const CHANNEL = 'rbac:policy'
const MAX_RETRY_MS = 5000

/** Follows the policy store. */
export class LivePolicy implements PolicyInForce {
  readonly #settings: LivePolicySettings
  readonly #shared: SharedState
  readonly #store: LimitedStore
  #engine: Engine
  #mark: PolicyMark | null = null
  #version = 0
  #grants = new TimedGrants()
  #contactAt: number
  #isPublished = false

  private constructor(settings: LivePolicySettings, engine: Engine) {
    const { store, clock, refreshMs, maxStalenessMs, onError } = settings
    this.#settings = settings
    this.#store = new LimitedStore(settings)
    this.#engine = engine
    this.#contactAt = clock.now()
    this.#shared = followSharedState({
      store,
      channel: CHANNEL,
      clock,
      load: () => this.#load(),
      receive: () => void this.refresh().catch(onError),
      retryMs: Math.min(refreshMs, MAX_RETRY_MS),
      // A store in this process has no other writers.
      ...(maxStalenessMs === Infinity ? undefined : { refreshMs }),
      onError,
    })
  }

  /**
   * Loads the policy, or seeds an empty policy store, and starts to follow the store.
   *
   * @throws what the policy store throws: an instance that cannot load the policy does not start.
   */
  static async open(settings: LivePolicySettings, seed: PolicyDocument): Promise<LivePolicy> {
    const live = new LivePolicy(settings, new Engine(compilePolicy(seed)))
    await live.#load()
    if (!live.#isPublished) await live.#seed(seed)
    await live.#shared.start()
    return live
  }

  /** The engine in force. Use one engine for a whole decision, so that it sees a single policy. */
  get engine(): Engine {
    return this.#engine
  }

  /** The revision of the policy store that this instance has loaded. */
  get revision(): number {
    return this.#mark?.revision ?? 0
  }

  get version(): number {
    return this.#version
  }

  get stale(): boolean {
    const { maxStalenessMs, clock } = this.#settings
    if (maxStalenessMs === Infinity) return false
    // If the clock was set back, the time of the last contact is unknown.
    return Math.abs(clock.now() - this.#contactAt) > maxStalenessMs
  }

  grantedTo(principalId: string): readonly string[] | undefined {
    return this.#grants.rolesOf(principalId, this.#settings.clock)
  }

  nextChange(principalId: string, now: number): number {
    // `stale` begins one millisecond after the limit.
    const staleAt = this.#contactAt + this.#settings.maxStalenessMs + 1
    return Math.min(staleAt, this.#grants.nextChange(principalId, now))
  }

  /** Returns the grants of a principal that have started and not expired. */
  activeGrantsOf(principalId: string): readonly TimedGrant[] {
    return this.#grants.activeOf(principalId, this.#settings.clock.now())
  }

  /** Returns the grants that have not expired. */
  grants(): readonly TimedGrant[] {
    return this.#grants.list(this.#settings.clock.now())
  }

  /** Loads the policy now. @throws what the policy store throws. */
  async refresh(): Promise<void> {
    await this.#shared.reload()
  }

  /**
   * Stores a policy and puts it in force.
   *
   * @returns the engine that was in force before.
   * @throws PARAPET_RBAC_CONFLICT if another change was stored first.
   */
  async publish(engine: Engine): Promise<Engine> {
    const previous = this.#engine
    const policy = encodePolicy(engine.model.policy)
    const result = await this.#change({ kind: 'publish', policy, digest: engine.digest })
    if (result === conflict) throw new PARAPET_RBAC_CONFLICT()
    return previous
  }

  /**
   * Grants a role for a limited time. The checks are repeated if another change was stored first.
   *
   * @param held roles that the principal is known to have.
   * @param requireAllowed throws if the change is not allowed.
   * @throws PARAPET_RBAC_INVALID_ARGUMENT
   * @throws PARAPET_RBAC_SEPARATION_OF_DUTY
   * @throws PARAPET_RBAC_CONFLICT if 64 other changes were stored first.
   */
  async grant(
    grant: TimedGrant,
    held: readonly string[],
    requireAllowed: () => void,
  ): Promise<void> {
    await retryConflicts(
      async () => {
        requireAllowed()
        requireGrant(this.#engine.model, this.#grants, grant, held, this.#settings.clock.now())
        return this.#change({ kind: 'grant', grant })
      },
      () => new PARAPET_RBAC_CONFLICT(),
    )
  }

  /** Revokes a grant. @throws PARAPET_RBAC_CONFLICT if 64 other changes were stored first. */
  async revoke(principalId: string, role: string, requireAllowed: () => void): Promise<void> {
    await retryConflicts(
      async () => {
        requireAllowed()
        return this.#change({ kind: 'revoke', principalId, role })
      },
      () => new PARAPET_RBAC_CONFLICT(),
    )
  }

  async close(): Promise<void> {
    await this.#shared.stop()
  }

  /** If several instances start at once, one of them seeds and the others load what it stored. */
  async #seed(seed: PolicyDocument): Promise<void> {
    const policy = encodePolicy(seed)
    const change = { kind: 'publish', policy, digest: this.#engine.digest } as const
    await this.#store.change(change, this.#mark!, () => {})
    await this.#load()
  }

  async #change(change: PolicyChange): Promise<undefined | typeof conflict> {
    const { onError } = this.#settings
    const mark = await this.#store.change(change, this.#mark!, (answer) => {
      // A change that is stored after the deadline is in force as well.
      answer.then((late) => (late === null ? undefined : this.#spread(late))).catch(onError)
    })
    if (mark !== null) await this.#spread(mark)
    // The caller must see the change that was stored first.
    else await this.refresh()
    return mark === null ? conflict : undefined
  }

  async #spread({ revision }: PolicyMark): Promise<void> {
    const { onError } = this.#settings
    try {
      await this.refresh()
    } finally {
      // The change is stored, so a failed notification must not look like a failed change.
      await this.#shared.announce(String(revision)).catch(onError)
    }
  }

  async #load(): Promise<void> {
    const startedAt = this.#settings.clock.now()
    const state = await this.#store.load(this.#mark)
    // An older revision is accepted: the store may have been restored from a backup.
    if (state !== null) this.#apply(state)
    this.#contactAt = startedAt
  }

  /** Does everything that can fail first, so that a state is applied as a whole or not at all. */
  #apply({ revision, changeId, policy, grants }: PolicyState): void {
    if (policy !== null && policy !== encodePolicy(this.#engine.model.policy)) {
      this.#engine = new Engine(compilePolicy(decodePolicy(policy)))
    }
    this.#grants = new TimedGrants(grants)
    this.#isPublished = policy !== null
    this.#mark = { revision, changeId }
    this.#version++
  }
}
