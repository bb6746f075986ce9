/**
 * Caches the keys of tenants and subjects, limited in age, uses and size. Concurrent requests for the
 * same keys share one load, and cached keys outlast a short outage of the provider. The file is long
 * because the class has two levels, tenants and their subjects, that share its maps.
 */
import type { Clock } from '@parapet/kit'
import {
  createKeyRing,
  type FoundRing,
  type KeyScope,
  type KeySource,
} from '../key-ring/key-ring.ts'
import { LruMap } from '../crypto/lru-map.ts'
import { PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE } from '../errors.ts'
import { isFresh, mayUseStale, type CachedKeys, type KeyCacheLimits } from './cached-keys.ts'
import { LoadFailures, RETRY_MS } from './load-failures.ts'
import { KeyUsageTracker, type KeyUsagePorts } from './key-usage.ts'
import { nameOfScope, UnknownWrapperError, type LoadedKeys } from './keyset-repository.ts'
import { RunningLoads, SingleFlight, type Load } from './running-loads.ts'
import { UnknownKeyIds } from './unknown-key-ids.ts'

/** What {@link KeyCache} needs. */
export interface KeyCachePorts extends KeyCacheLimits, KeyUsagePorts {
  readonly clock: Clock
  /** Called when keys could not be loaded. @param served whether cached keys were used instead */
  readonly onUnavailable: (scope: KeyScope, served: boolean, error: unknown) => void
}

/** The cached form of a {@link FoundRing}. */
type FoundKeys = CachedKeys | 'forgotten' | null

/** The key cache of one service. */
export class KeyCache implements KeySource {
  readonly #ports: KeyCachePorts
  readonly #tenants: LruMap<string, CachedKeys>
  readonly #subjects: LruMap<string, CachedKeys>
  readonly #usage: KeyUsageTracker
  readonly #flights = new SingleFlight<FoundKeys>()
  readonly #loads = new RunningLoads()
  readonly #failures: LoadFailures
  readonly #unknownKeyIds: UnknownKeyIds
  /** Whether changes of other instances arrive. While they do not, subjects' keys are not cached. */
  #isCurrent = false

  constructor(ports: KeyCachePorts) {
    this.#ports = ports
    this.#tenants = new LruMap(ports.maxEntries)
    this.#subjects = new LruMap(ports.maxEntries)
    this.#usage = new KeyUsageTracker(ports)
    this.#failures = new LoadFailures(ports.maxEntries, () => this.#now())
    this.#unknownKeyIds = new UnknownKeyIds(ports.maxEntries)
  }

  /** Ages are not measured by the wall clock: set back, it would keep destroyed keys alive. */
  #now(): number {
    const { clock } = this.#ports
    return (clock.monotonic ?? clock.now)()
  }

  async find(scopes: readonly KeyScope[], create: boolean): Promise<readonly FoundRing[]> {
    const rings = new Map<string, FoundRing>()
    const wanted = new Map<string, Set<string>>()
    for (const scope of scopes) {
      const name = nameOfScope(scope)
      if (rings.has(name)) continue
      rings.set(name, null)
      const subjects = wanted.get(scope.tenant) ?? new Set()
      if (scope.subject !== null) subjects.add(scope.subject)
      wanted.set(scope.tenant, subjects)
    }
    for (const [tenant, subjects] of wanted) {
      const own = await this.#findTenant(tenant, create)
      rings.set(nameOfScope({ tenant, subject: null }), own?.ring ?? null)
      if (own === null || subjects.size === 0) continue
      const found = await this.#findSubjects(tenant, [...subjects], own, create)
      for (const [subject, ring] of found) rings.set(nameOfScope({ tenant, subject }), ring)
    }
    return scopes.map((scope) => rings.get(nameOfScope(scope)) ?? null)
  }

  refresh(scope: KeyScope, keyId: number): boolean {
    const name = nameOfScope(scope)
    if (!this.#unknownKeyIds.mayReload(name, keyId, this.#now())) return false
    // Marked, not deleted: a ciphertext with an unknown key id must not turn an outage of the
    // provider into failed reads of all other rows.
    const cached = (scope.subject === null ? this.#tenants : this.#subjects).get(name)
    if (cached !== undefined) cached.mustReload = true
    this.#outdate(name)
    return true
  }

  /** The keys of a scope have changed. A subject's keys may be destroyed, so they are deleted at once. */
  drop({ tenant, subject }: KeyScope): void {
    const name = nameOfScope({ tenant, subject })
    if (subject === null) {
      const cached = this.#tenants.get(name)
      if (cached !== undefined) cached.mustReload = true
      this.#failures.forget(name)
    } else this.#subjects.delete(name)
    this.#outdate(name)
  }

  /**
   * @param isCurrent `false`: changes of other instances may be missed from now on, so that subjects'
   *   keys are read from the key store each time. `true`: changes arrive again; some were missed.
   */
  setCurrent(isCurrent: boolean): void {
    this.#isCurrent = isCurrent
    this.#flights.releaseAll()
    this.#loads.outdateAll()
    this.#subjects.clear()
    if (isCurrent) for (const cached of this.#tenants.values()) cached.mustReload = true
  }

  /** Writes the counts of sealed values to the key store. */
  flush(): Promise<void> {
    return this.#usage.flush()
  }

  /** A running load may return old keys: later requests do not join it, and it is not cached. */
  #outdate(name: string): void {
    this.#flights.release(flightName(name, false))
    this.#flights.release(flightName(name, true))
    this.#loads.outdate(name)
  }

  async #findTenant(tenant: string, create: boolean): Promise<CachedKeys | null> {
    const scope = { tenant, subject: null }
    const name = nameOfScope(scope)
    const cached = this.#tenants.get(name)
    const { onUnavailable } = this.#ports
    if (cached !== undefined && isFresh(cached, this.#ports, this.#now())) return this.#use(cached)
    const isServable = () => cached !== undefined && mayUseStale(cached, this.#ports, this.#now())
    const isWaiting = this.#failures.isRecent(name)
    const reload = () =>
      this.#failures.watch([name], () =>
        this.#flights.join(flightName(name, create), () => this.#loadTenant(tenant, create)),
      )
    try {
      if (isWaiting) throw new Error(`The last load failed less than ${RETRY_MS} ms ago`)
      if (this.#failures.isSlow(name) && isServable()) {
        // One request has waited for a service that hangs: later ones do not.
        reload().catch((error: unknown) => onUnavailable(scope, true, error))
        return this.#use(cached!)
      }
      const loaded = await reload()
      return loaded === null ? null : this.#use(loaded as CachedKeys)
    } catch (error) {
      const served = isServable()
      onUnavailable(scope, served, error)
      if (served) return this.#use(cached!)
      throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    }
  }

  async #loadTenant(tenant: string, create: boolean): Promise<CachedKeys | null> {
    const scope = { tenant, subject: null }
    const name = nameOfScope(scope)
    const loads = this.#loads.begin([name])
    try {
      const loaded = await this.#ports.repository.loadTenant(tenant, create)
      return loaded && this.#cache(this.#tenants, scope, loaded, loads[0]!)
    } finally {
      this.#loads.end(loads)
    }
  }

  async #findSubjects(
    tenant: string,
    subjects: readonly string[],
    own: CachedKeys,
    create: boolean,
  ): Promise<ReadonlyMap<string, FoundRing>> {
    const rings = new Map<string, FoundRing>()
    const stale = new Map<string, CachedKeys>()
    const now = this.#now()
    for (const subject of this.#isCurrent ? subjects : []) {
      const cached = this.#subjects.get(nameOfScope({ tenant, subject }))
      if (cached === undefined) continue
      if (isFresh(cached, this.#ports, now)) rings.set(subject, this.#use(cached).ring)
      else if (mayUseStale(cached, this.#ports, now)) stale.set(subject, cached)
    }
    const missing = subjects.filter((subject) => !rings.has(subject))
    if (missing.length === 0) return rings
    const names = missing.map((subject) => nameOfScope({ tenant, subject }))
    const serve = (error: unknown) => {
      this.#ports.onUnavailable({ tenant, subject: missing[0]! }, true, error)
      for (const [subject, keys] of stale) rings.set(subject, this.#use(keys).ring)
      return rings
    }
    const isStale = missing.every((subject) => stale.has(subject))
    if (isStale && names.every((name) => this.#failures.isSlow(name))) {
      if (!names.some((name) => this.#failures.isRecent(name))) {
        this.#reloadSubjects(tenant, missing, own, create).catch(() => {})
      }
      return serve(new Error('The last load of these keys had no answer'))
    }
    try {
      const found = await this.#reloadSubjects(tenant, missing, own, create)
      for (const [index, subject] of missing.entries()) {
        const keys = found[index]!
        const isAbsent = keys === null || keys === 'forgotten'
        rings.set(subject, isAbsent ? keys : this.#use(keys).ring)
      }
      return rings
    } catch (error) {
      if (isStale) return serve(error)
      this.#ports.onUnavailable({ tenant, subject: missing[0]! }, false, error)
      throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    }
  }

  async #reloadSubjects(
    tenant: string,
    subjects: readonly string[],
    own: CachedKeys,
    create: boolean,
  ): Promise<FoundKeys[]> {
    const names = subjects.map((subject) => nameOfScope({ tenant, subject }))
    return this.#failures.watch(names, () =>
      Promise.all(this.#shareLoads(tenant, subjects, own, create)),
    )
  }

  /** Loads in one query the subjects that no other request is loading already. */
  #shareLoads(
    tenant: string,
    subjects: readonly string[],
    own: CachedKeys,
    create: boolean,
  ): Promise<FoundKeys>[] {
    // While changes may be missed, a load that began earlier may return destroyed keys: share none.
    const flights = this.#isCurrent ? this.#flights : new SingleFlight<FoundKeys>()
    const nameOf = (subject: string) => flightName(nameOfScope({ tenant, subject }), create)
    const unshared = subjects.filter((subject) => flights.get(nameOf(subject)) === undefined)
    const batch = this.#loadSubjects(tenant, unshared, own, create)
    for (const [index, subject] of unshared.entries()) {
      void flights.join(nameOf(subject), async () => (await batch)[index]!)
    }
    return subjects.map((subject) => flights.get(nameOf(subject))!)
  }

  async #loadSubjects(
    tenant: string,
    subjects: readonly string[],
    own: CachedKeys,
    create: boolean,
  ): Promise<FoundKeys[]> {
    const scopes = subjects.map((subject) => ({ tenant, subject }))
    const loads = this.#loads.begin(scopes.map(nameOfScope))
    try {
      const loaded = await this.#readSubjects(tenant, subjects, own, create)
      return loaded.map((keys, index) =>
        keys === null || keys === 'forgotten'
          ? keys
          : this.#cache(this.#subjects, scopes[index]!, keys, loads[index]!),
      )
    } finally {
      this.#loads.end(loads)
    }
  }

  async #readSubjects(
    tenant: string,
    subjects: readonly string[],
    own: CachedKeys,
    create: boolean,
  ) {
    const { repository } = this.#ports
    try {
      return await repository.loadSubjects(tenant, subjects, own.ring.aead, create)
    } catch (error) {
      if (!(error instanceof UnknownWrapperError)) throw error
      // Another instance has rotated the tenant's keys: reload them and try once more.
      own.mustReload = true
      this.#outdate(nameOfScope({ tenant, subject: null }))
      const fresh = await this.#findTenant(tenant, false)
      return repository.loadSubjects(tenant, subjects, (fresh ?? own).ring.aead, create)
    }
  }

  #cache(
    map: LruMap<string, CachedKeys>,
    scope: KeyScope,
    { keyset }: LoadedKeys,
    { isOutdated }: Load,
  ): CachedKeys {
    const ring = createKeyRing(keyset, this.#usage.usageOf(scope, keyset))
    const cached = { ring, loadedAt: this.#now(), uses: 0, mustReload: false }
    if (!isOutdated) map.set(nameOfScope(scope), cached)
    return cached
  }

  #use(cached: CachedKeys): CachedKeys {
    cached.uses++
    this.#usage.check(cached.ring.aead.usage)
    return cached
  }
}

/** A request that may create keys does not join a load that may not. */
function flightName(name: string, create: boolean): string {
  return create ? `${name}+` : name
}
