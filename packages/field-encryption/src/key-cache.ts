/**
 * The keys of a fleet's scopes, kept at hand: with an age, a number of uses and a size they may not
 * pass, one call at a time for each tenant, and through a short outage of the provider.
 */
import { BoundedMap } from './bounded-map.ts'
import { PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE } from './errors.ts'
import type { KeyCachePorts } from './key-cache-ports.ts'
import {
  createKeyRing,
  type FoundRing,
  type KeyRing,
  type KeyScope,
  type KeySource,
} from './key-ring.ts'
import { nameOfScope, UnknownWrapperError, type LoadedKeys } from './key-vault.ts'
import { StrangerKeys } from './stranger-keys.ts'
import { UsageMeters } from './usage-meters.ts'

interface Entry {
  readonly ring: KeyRing
  readonly loadedAt: number
  uses: number
  /** Whether it must be fetched anew before it is used, though it serves while that fails. */
  due: boolean
}

/** As {@link FoundRing} has it. */
type FoundEntry = Entry | 'forgotten' | null

/** The keys of a scope that are being fetched. */
interface Load {
  readonly name: string
  /** Whether the keys changed meanwhile: what is fetched is served once, and not kept. */
  outdated: boolean
}

/** After a failed fetch the next one waits this long, so that an outage is not asked by every request. */
const RETRY_MS = 1000
/** Keeps loaded keys. Make one for each service. */
export class KeyCache implements KeySource {
  readonly #ports: KeyCachePorts
  readonly #tenants: BoundedMap<string, Entry>
  readonly #subjects: BoundedMap<string, Entry>
  readonly #meters: UsageMeters
  readonly #flights = new Map<string, Promise<FoundEntry>>()
  readonly #failedAt: BoundedMap<string, number>
  readonly #strangers: StrangerKeys
  readonly #loads = new Set<Load>()
  /** Whether a change would be heard of. */
  #listening = true

  constructor(ports: KeyCachePorts) {
    this.#ports = ports
    this.#tenants = new BoundedMap(ports.maxEntries)
    this.#subjects = new BoundedMap(ports.maxEntries)
    this.#meters = new UsageMeters(ports)
    this.#failedAt = new BoundedMap(ports.maxEntries)
    this.#strangers = new StrangerKeys(ports.maxEntries)
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
      const own = await this.#tenant(tenant, create)
      rings.set(nameOfScope({ tenant, subject: null }), own?.ring ?? null)
      if (own === null || subjects.size === 0) continue
      const loaded = await this.#subjectsOf(tenant, [...subjects], own, create)
      for (const [subject, ring] of loaded) rings.set(nameOfScope({ tenant, subject }), ring)
    }
    return scopes.map((scope) => rings.get(nameOfScope(scope)) ?? null)
  }

  refresh(scope: KeyScope, keyId: number): boolean {
    const name = nameOfScope(scope)
    if (!this.#strangers.mayAsk(name, keyId, this.#ports.clock.now())) return false
    // It goes on serving while the provider is down, so a stray row cannot make an outage of that.
    const entry = (scope.subject === null ? this.#tenants : this.#subjects).get(name)
    if (entry !== undefined) entry.due = true
    this.#outdate(name)
    return true
  }

  /** Hears that the keys of a scope have changed: a subject's may be destroyed and serve no more. */
  drop({ tenant, subject }: KeyScope): void {
    const name = nameOfScope({ tenant, subject })
    if (subject === null) {
      const entry = this.#tenants.get(name)
      if (entry !== undefined) entry.due = true
      this.#failedAt.delete(name)
    } else this.#subjects.delete(name)
    this.#outdate(name)
  }

  /** What is being fetched may be of before a change: nobody joins it, and it is not kept. */
  #outdate(name: string): void {
    this.#flights.delete(name)
    this.#flights.delete(`${name}+`)
    for (const load of this.#loads) load.outdated ||= load.name === name
  }

  #outdateAll(): void {
    this.#flights.clear()
    for (const load of this.#loads) load.outdated = true
  }

  /** From now on changes may be missed: subjects' keys are read from the table each time. */
  stopTrusting(): void {
    this.#listening = false
    this.#outdateAll()
    this.#subjects.clear()
  }

  /** Changes are heard of again; those in between were missed. */
  trustAgain(): void {
    this.#listening = true
    this.#outdateAll()
    this.#subjects.clear()
    for (const entry of this.#tenants.values()) entry.due = true
  }

  /** Tells the key table how often keys have sealed, where that is worth a statement. */
  flush(): Promise<void> {
    return this.#meters.flush()
  }

  async #tenant(tenant: string, create: boolean): Promise<Entry | null> {
    const scope = { tenant, subject: null }
    const name = nameOfScope(scope)
    const entry = this.#tenants.get(name)
    if (entry !== undefined && this.#isFresh(entry)) return this.#use(entry)
    const { clock, onUnavailable } = this.#ports
    const waits = clock.now() - (this.#failedAt.get(name) ?? -Infinity) < RETRY_MS
    try {
      if (waits) throw new Error('the keys could not be fetched a moment ago')
      const load = () => this.#loadTenant(tenant, create)
      const loaded = (await this.#fly(flightName(name, create), load)) as Entry | null
      return loaded === null ? null : this.#use(loaded)
    } catch (error) {
      if (!waits) this.#failedAt.set(name, clock.now())
      const serves = entry !== undefined && this.#mayServe(entry)
      onUnavailable(scope, serves, error)
      if (serves) return this.#use(entry)
      throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    }
  }

  #fly(
    name: string,
    load: () => Promise<FoundEntry>,
    flights = this.#flights,
  ): Promise<FoundEntry> {
    const under = flights.get(name)
    if (under !== undefined) return under
    const flight = load().finally(() => {
      if (flights.get(name) === flight) flights.delete(name)
    })
    flights.set(name, flight)
    return flight
  }

  async #loadTenant(tenant: string, create: boolean): Promise<Entry | null> {
    const scope = { tenant, subject: null }
    const [load] = this.#begin([nameOfScope(scope)])
    try {
      const loaded = await this.#ports.vault.loadTenant(tenant, create)
      this.#failedAt.delete(nameOfScope(scope))
      return loaded && this.#keep(this.#tenants, scope, loaded, load!)
    } finally {
      this.#loads.delete(load!)
    }
  }

  #begin(names: readonly string[]): Load[] {
    const loads = names.map((name) => ({ name, outdated: false }))
    for (const load of loads) this.#loads.add(load)
    return loads
  }

  async #subjectsOf(tenant: string, subjects: readonly string[], own: Entry, create: boolean) {
    const rings = new Map<string, FoundRing>()
    const stale = new Map<string, Entry>()
    const missing = subjects.filter((subject) => {
      const scope = { tenant, subject }
      const entry = this.#listening ? this.#subjects.get(nameOfScope(scope)) : undefined
      if (entry === undefined) return true
      if (this.#isFresh(entry)) rings.set(subject, this.#use(entry).ring)
      else if (this.#mayServe(entry)) stale.set(subject, entry)
      return !rings.has(subject)
    })
    if (missing.length === 0) return rings
    try {
      const found = await Promise.all(this.#flySubjects(tenant, missing, own, create))
      for (const [index, subject] of missing.entries()) {
        const entry = found[index]!
        const known = entry === null || entry === 'forgotten'
        rings.set(subject, known ? entry : this.#use(entry).ring)
      }
    } catch (error) {
      const served = missing.every((subject) => stale.has(subject))
      this.#ports.onUnavailable({ tenant, subject: missing[0]! }, served, error)
      if (!served) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
      for (const [subject, { ring }] of stale) rings.set(subject, ring)
    }
    return rings
  }

  /** One question for all subjects that nobody is asking for already. */
  #flySubjects(
    tenant: string,
    subjects: readonly string[],
    own: Entry,
    create: boolean,
  ): Promise<FoundEntry>[] {
    // Whoever hears of no change may not take what was asked for a moment ago.
    const flights = this.#listening ? this.#flights : new Map<string, Promise<FoundEntry>>()
    const nameOf = (subject: string) => flightName(nameOfScope({ tenant, subject }), create)
    const unasked = subjects.filter((subject) => !flights.has(nameOf(subject)))
    const batch = this.#loadSubjects(tenant, unasked, own, create)
    for (const [index, subject] of unasked.entries()) {
      void this.#fly(nameOf(subject), async () => (await batch)[index]!, flights)
    }
    return subjects.map((subject) => flights.get(nameOf(subject))!)
  }

  async #loadSubjects(
    tenant: string,
    subjects: readonly string[],
    own: Entry,
    create: boolean,
  ): Promise<FoundEntry[]> {
    const scopes = subjects.map((subject) => ({ tenant, subject }))
    const loads = this.#begin(scopes.map(nameOfScope))
    try {
      const loaded = await this.#askSubjects(tenant, subjects, own, create)
      return loaded.map((keys, index) =>
        keys === null || keys === 'forgotten'
          ? keys
          : this.#keep(this.#subjects, scopes[index]!, keys, loads[index]!),
      )
    } finally {
      for (const load of loads) this.#loads.delete(load)
    }
  }

  async #askSubjects(tenant: string, subjects: readonly string[], own: Entry, create: boolean) {
    const { vault } = this.#ports
    try {
      return await vault.loadSubjects(tenant, subjects, own.ring.aead, create)
    } catch (error) {
      if (!(error instanceof UnknownWrapperError)) throw error
      // Another instance has given the tenant a new key: read it, and try once more.
      own.due = true
      this.#outdate(nameOfScope({ tenant, subject: null }))
      const fresh = await this.#tenant(tenant, false)
      return vault.loadSubjects(tenant, subjects, (fresh ?? own).ring.aead, create)
    }
  }

  #keep(
    map: BoundedMap<string, Entry>,
    scope: KeyScope,
    { keyset }: LoadedKeys,
    { outdated }: Load,
  ): Entry {
    const ring = createKeyRing(keyset, this.#meters.of(scope, keyset))
    const entry = { ring, loadedAt: this.#ports.clock.now(), uses: 0, due: false }
    if (!outdated) map.set(nameOfScope(scope), entry)
    return entry
  }

  #isFresh({ loadedAt, uses, due }: Entry): boolean {
    const { clock, maxAgeMs, maxUses } = this.#ports
    return !due && clock.now() - loadedAt < maxAgeMs && uses < maxUses
  }

  #mayServe({ loadedAt }: Entry): boolean {
    const { clock, maxAgeMs, maxStaleMs } = this.#ports
    return clock.now() - loadedAt < maxAgeMs + maxStaleMs
  }

  #use(entry: Entry): Entry {
    entry.uses++
    this.#meters.check(entry.ring.aead.usage)
    return entry
  }
}

/** One that may make keys does not wait for one that may not. */
function flightName(name: string, create: boolean): string {
  return create ? `${name}+` : name
}
