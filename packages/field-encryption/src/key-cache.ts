/**
 * The keys of a fleet's scopes, kept at hand: with an age, a number of uses and a size they may not
 * pass, one call at a time for each tenant, and through a short outage of the provider.
 */
import { MAX_KEY_USES, type UsageMeter } from './aead.ts'
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
import type { Keyset } from './keyset.ts'

interface Entry {
  readonly ring: KeyRing
  readonly loadedAt: number
  uses: number
}

/** After a failed fetch the next one waits this long, so that an outage is not asked by every request. */
const RETRY_MS = 1000
/** A row that names a key nobody has must not cost a call of the provider each time it is read. */
const STRANGER_MS = 60_000
/** Values sealed before the key table hears of them. */
const FLUSH_USES = 4096
/** Fewer are not worth a statement when the service ends: a key may seal four thousand million. */
const WORTH_USES = 256
/** A rotation is due from here on. */
const NEAR_LIMIT = MAX_KEY_USES / 2

interface Meter extends UsageMeter {
  readonly scope: KeyScope
  readonly keyId: number
  /** How much of `count` the key table knows. */
  reported: number
  warned: boolean
}

/** Keeps loaded keys. Make one for each service. */
export class KeyCache implements KeySource {
  readonly #ports: KeyCachePorts
  readonly #tenants: BoundedMap<string, Entry>
  readonly #subjects: BoundedMap<string, Entry>
  readonly #meters: BoundedMap<string, Meter>
  readonly #flights = new Map<string, Promise<Entry | null>>()
  readonly #failedAt: BoundedMap<string, number>
  /** When keys that are not known here were last looked for. */
  readonly #strangers: BoundedMap<string, number>
  /** One more with each word of a change: what was fetched before it is not kept. */
  #generation = 0
  /** Whether a change would be heard of. */
  #listening = true

  constructor(ports: KeyCachePorts) {
    this.#ports = ports
    this.#tenants = new BoundedMap(ports.maxEntries)
    this.#subjects = new BoundedMap(ports.maxEntries)
    this.#meters = new BoundedMap(ports.maxEntries)
    this.#failedAt = new BoundedMap(ports.maxEntries)
    this.#strangers = new BoundedMap(ports.maxEntries)
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
    const { clock } = this.#ports
    const name = `${nameOfScope(scope)}:${keyId}`
    const asked = this.#strangers.get(name)
    if (asked !== undefined && clock.now() - asked < STRANGER_MS) return false
    this.#strangers.set(name, clock.now())
    this.drop(scope)
    return true
  }

  /** Forgets the keys of a scope here: they have changed, or are destroyed. */
  drop({ tenant, subject }: KeyScope): void {
    this.#generation++
    const name = nameOfScope({ tenant, subject })
    if (subject === null) {
      this.#tenants.delete(name)
      this.#failedAt.delete(name)
      this.#flights.delete(name)
      this.#flights.delete(`${name}+`)
    } else this.#subjects.delete(name)
  }

  /** From now on changes may be missed: subjects' keys are read from the table each time. */
  stopTrusting(): void {
    this.#listening = false
    this.#generation++
    this.#subjects.clear()
  }

  /** Changes are heard of again; those in between were missed. */
  trustAgain(): void {
    this.#listening = true
    this.#generation++
    this.#subjects.clear()
    this.#tenants.clear()
  }

  /** Tells the key table how often keys have sealed, where that is worth a statement. */
  async flush(): Promise<void> {
    const due = [...this.#meters.values()].filter(
      (each) => each.count - each.reported >= WORTH_USES,
    )
    await Promise.all(due.map((meter) => this.#report(meter)))
  }

  async #tenant(tenant: string, create: boolean): Promise<Entry | null> {
    const scope = { tenant, subject: null }
    const name = nameOfScope(scope)
    const entry = this.#tenants.get(name)
    if (entry !== undefined && this.#isFresh(entry)) return this.#use(entry, scope)
    const { clock, onUnavailable } = this.#ports
    const failed = this.#failedAt.get(name)
    const waits = failed !== undefined && clock.now() - failed < RETRY_MS
    try {
      if (waits) throw new Error('the keys could not be fetched a moment ago')
      // One that may make keys does not wait for one that may not.
      const load = () => this.#loadTenant(tenant, create)
      const loaded = await this.#fly(create ? `${name}+` : name, load)
      return loaded === null ? null : this.#use(loaded, scope)
    } catch (error) {
      if (!waits) this.#failedAt.set(name, clock.now())
      const serves = entry !== undefined && this.#mayServe(entry)
      onUnavailable(scope, serves, error)
      if (serves) return this.#use(entry, scope)
      throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    }
  }

  async #fly(name: string, load: () => Promise<Entry | null>): Promise<Entry | null> {
    const under = this.#flights.get(name)
    if (under !== undefined) return under
    const flight = load().finally(() => {
      if (this.#flights.get(name) === flight) this.#flights.delete(name)
    })
    this.#flights.set(name, flight)
    return flight
  }

  async #loadTenant(tenant: string, create: boolean): Promise<Entry | null> {
    const scope = { tenant, subject: null }
    const generation = this.#generation
    const loaded = await this.#ports.vault.loadTenant(tenant, create)
    this.#failedAt.delete(nameOfScope(scope))
    return loaded && this.#keep(this.#tenants, scope, loaded, generation)
  }

  async #subjectsOf(tenant: string, subjects: readonly string[], own: Entry, create: boolean) {
    const { onUnavailable } = this.#ports
    const rings = new Map<string, FoundRing>()
    const stale = new Map<string, Entry>()
    const missing = subjects.filter((subject) => {
      const scope = { tenant, subject }
      const entry = this.#listening ? this.#subjects.get(nameOfScope(scope)) : undefined
      if (entry === undefined) return true
      if (this.#isFresh(entry)) rings.set(subject, this.#use(entry, scope).ring)
      else if (this.#mayServe(entry)) stale.set(subject, entry)
      return !rings.has(subject)
    })
    if (missing.length === 0) return rings
    const generation = this.#generation
    try {
      const loaded = await this.#loadSubjects(tenant, missing, own, create)
      for (const [index, subject] of missing.entries()) {
        const keys = loaded[index]!
        if (keys === null || keys === 'forgotten') rings.set(subject, keys)
        else {
          const scope = { tenant, subject }
          const entry = this.#keep(this.#subjects, scope, keys, generation)
          rings.set(subject, this.#use(entry, scope).ring)
        }
      }
    } catch (error) {
      const served = missing.every((subject) => stale.has(subject))
      onUnavailable({ tenant, subject: missing[0]! }, served, error)
      if (!served) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
      for (const [subject, { ring }] of stale) rings.set(subject, ring)
    }
    return rings
  }

  async #loadSubjects(tenant: string, subjects: readonly string[], own: Entry, create: boolean) {
    const { vault } = this.#ports
    try {
      return await vault.loadSubjects(tenant, subjects, own.ring.aead, create)
    } catch (error) {
      if (!(error instanceof UnknownWrapperError)) throw error
      // Another instance has given the tenant a new key: read it, and try once more.
      this.drop({ tenant, subject: null })
      const fresh = await this.#tenant(tenant, false)
      return vault.loadSubjects(tenant, subjects, (fresh ?? own).ring.aead, create)
    }
  }

  #keep(
    map: BoundedMap<string, Entry>,
    scope: KeyScope,
    { keyset }: LoadedKeys,
    generation: number,
  ): Entry {
    const ring = createKeyRing(keyset, this.#meterOf(scope, keyset))
    const entry = { ring, loadedAt: this.#ports.clock.now(), uses: 0 }
    // A change that was announced meanwhile may not be in what was read: serve it once, keep it not.
    if (generation === this.#generation) map.set(nameOfScope(scope), entry)
    return entry
  }

  #isFresh({ loadedAt, uses }: Entry): boolean {
    const { clock, maxAgeMs, maxUses } = this.#ports
    return clock.now() - loadedAt < maxAgeMs && uses < maxUses
  }

  #mayServe({ loadedAt }: Entry): boolean {
    const { clock, maxAgeMs, maxStaleMs } = this.#ports
    return clock.now() - loadedAt < maxAgeMs + maxStaleMs
  }

  #use(entry: Entry, scope: KeyScope): Entry {
    entry.uses++
    const meter = entry.ring.aead.usage as Meter
    // What cannot be told now is told with the next.
    if (meter.count - meter.reported >= FLUSH_USES) this.#report(meter).catch(() => {})
    if (meter.count >= NEAR_LIMIT && !meter.warned) {
      meter.warned = true
      this.#ports.onNearLimit(scope, meter.keyId)
    }
    return entry
  }

  #meterOf(scope: KeyScope, { primaryKeyId }: Keyset): Meter {
    const name = `${nameOfScope(scope)}:${primaryKeyId}`
    const known = this.#meters.get(name)
    if (known !== undefined) return known
    const meter = {
      scope,
      keyId: primaryKeyId,
      count: 0,
      reported: 0,
      limit: MAX_KEY_USES,
      warned: false,
    }
    this.#meters.set(name, meter)
    return meter
  }

  async #report(meter: Meter): Promise<void> {
    const { tenant, subject } = meter.scope
    const before = meter.reported
    const amount = meter.count - before
    meter.reported = meter.count
    try {
      const total = await this.#ports.vault.ask((store) =>
        store.addUses(tenant, subject ?? '', meter.keyId, amount),
      )
      const since = meter.count - meter.reported
      meter.count = total + since
      meter.reported = total
    } catch (error) {
      meter.reported = before
      throw error
    }
  }
}
