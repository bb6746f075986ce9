/**
 * Loads secrets at boot, refreshes them in the background, and rotates those that changed. The file is long
 * because loading, refreshing, rotating and closing share the state of one entry.
 */
import type { Clock } from '@parapet/kit'
import {
  PARAPET_SECRETS_NOT_FOUND,
  PARAPET_SECRETS_NOT_LOADED,
  PARAPET_SECRETS_PROVIDER_TIMEOUT,
  PARAPET_SECRETS_UNKNOWN,
} from '../errors.ts'
import { releaseProvider, useProvider } from '../providers/provider-users.ts'
import { bounded, type ProvidedSecret, type SecretsProvider } from '../providers/provider.ts'
import { Secret } from '../value/secret.ts'
import { reasonOf } from './reason.ts'
import { rotateTogether } from './rotate-together.ts'
import { SecretSlot, type RotatingSecret } from './rotating-secret.ts'
import type { RotationHook } from './rotation-hooks.ts'
import {
  groupOf,
  type Change,
  type Entry,
  type Group,
  type KeeperReports,
  type KeptSecret,
} from './secret-entry.ts'

/** What the keeper needs. */
export interface KeeperSettings {
  readonly secrets: Readonly<Record<string, KeptSecret>>
  readonly jitterRatio: number
  readonly deadlineMs: number
  readonly hookDeadlineMs: number
  readonly warnBeforeMs: number
  readonly clock: Clock
  readonly random: () => number
  readonly reports: KeeperReports
  readonly onError: (error: unknown) => void
}

const FIRST_RETRY_MS = 1000

/** Keeps the secrets. */
export class SecretKeeper {
  readonly #settings: KeeperSettings
  readonly #entries = new Map<string, Entry>()
  readonly #groups: Group[] = []
  #stopWatching: (() => void)[] = []
  #isClosed = false

  private constructor(settings: KeeperSettings) {
    this.#settings = settings
    for (const provider of this.providers) useProvider(provider)
  }

  /** Loads all secrets. @throws PARAPET_SECRETS_NOT_LOADED with every fault */
  static async open(settings: KeeperSettings): Promise<SecretKeeper> {
    const keeper = new SecretKeeper(settings)
    const faults: string[] = []
    await Promise.all(
      Object.entries(settings.secrets).map(async ([name, kept]) => {
        try {
          keeper.#add(name, kept, await keeper.#read(kept))
        } catch (error) {
          faults.push(`  "${name}" from ${kept.provider.name}: ${reasonOf(error)}`)
        }
      }),
    )
    if (faults.length > 0) {
      await keeper.close()
      throw new PARAPET_SECRETS_NOT_LOADED(faults.toSorted().join('\n'))
    }
    for (const provider of keeper.providers) keeper.#watch(provider)
    return keeper
  }

  get providers(): ReadonlySet<SecretsProvider> {
    return new Set(Object.values(this.#settings.secrets).map(({ provider }) => provider))
  }

  /** @throws PARAPET_SECRETS_UNKNOWN */
  get(name: string): RotatingSecret {
    return this.#entry(name).slot
  }

  get slots(): SecretSlot[] {
    return [...this.#entries.values()].map(({ slot }) => slot)
  }

  onRotate(name: string, hook: RotationHook): () => void {
    const { hooks } = this.#entry(name)
    hooks.push(hook)
    return () => {
      const index = hooks.indexOf(hook)
      if (index >= 0) hooks.splice(index, 1)
    }
  }

  /** Reads a secret now. @throws what the provider throws, PARAPET_SECRETS_ROTATION_FAILED */
  async refresh(name: string): Promise<void> {
    const entry = this.#entry(name)
    // A read that began before the call may have missed what the caller changed.
    await entry.group.running
    const errors = await this.#refresh(entry.group)
    if (errors.has(entry)) throw errors.get(entry)
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name)
    if (entry === undefined) throw new PARAPET_SECRETS_UNKNOWN(name)
    return entry
  }

  async #read({ provider, path }: KeptSecret): Promise<ProvidedSecret> {
    const { name } = provider
    const provided = await bounded(provider.read(path), { ...this.#settings, name })
    if (typeof provided.value === 'string' && provided.value !== '') return provided
    throw new PARAPET_SECRETS_NOT_FOUND(`${name} ${path} (as text that is not empty)`)
  }

  #add(name: string, kept: KeptSecret, provided: ProvidedSecret): void {
    const { value, version, expiresAt } = provided
    const slot = new SecretSlot(name, new Secret(value), version, expiresAt)
    const entry: Entry = {
      name,
      kept,
      slot,
      hooks: [],
      refreshedAt: this.#settings.clock.now(),
      failures: 0,
      isUnanswered: false,
      warnedFor: undefined,
      overlaps: new Set(),
      group: groupOf(this.#groups, kept),
    }
    this.#entries.set(name, entry)
    entry.group.entries.push(entry)
    this.#schedule(entry.group)
  }

  #watch(provider: SecretsProvider): void {
    const stop = provider.watch?.(() => {
      for (const group of this.#groups) {
        if (group.entries[0]?.kept.provider === provider) void this.#refresh(group)
      }
    })
    if (stop !== undefined) this.#stopWatching.push(stop)
  }

  /** The next refresh: jittered, so that a fleet does not ask at the same moment; soon after a failure. */
  #schedule(group: Group): void {
    group.cancelRefresh()
    if (this.#isClosed) return
    const { jitterRatio, clock, random } = this.#settings
    const jitter = random()
    const waits = group.entries.map(({ failures, kept: { refreshMs } }) => {
      if (failures === 0) return refreshMs * (1 - jitterRatio * jitter)
      const pause = FIRST_RETRY_MS * 2 ** Math.min(20, failures - 1)
      return Math.min(refreshMs, pause * (1 + jitter))
    })
    const wait = Math.max(1, Math.round(Math.min(...waits)))
    group.cancelRefresh = clock.schedule(wait, () => void this.#refresh(group))
  }

  /** What fails is reported, and returned. */
  #refresh(group: Group): Promise<ReadonlyMap<Entry, unknown>> {
    if (this.#isClosed) return Promise.resolve(new Map())
    group.running ??= this.#refreshOnce(group).finally(() => {
      group.running = undefined
      this.#schedule(group)
    })
    return group.running
  }

  async #refreshOnce({ entries }: Group): Promise<ReadonlyMap<Entry, unknown>> {
    const errors = new Map<Entry, unknown>()
    const read = async (entry: Entry): Promise<Change[]> => {
      try {
        return [{ entry, provided: await this.#read(entry.kept) }]
      } catch (error) {
        this.#noteFailure(entry, error)
        errors.set(entry, error)
        return []
      }
    }
    const found = (await Promise.all(entries.map(read))).flat()
    if (this.#isClosed) return errors
    for (const { entry } of found) this.#noteAnswer(entry)
    const changes = found.filter(({ entry, provided }) => !entry.slot.last.equals(provided.value))
    for (const [entry, error] of await rotateTogether(changes, this.#settings))
      errors.set(entry, error)
    for (const { entry, provided } of found) {
      if (!errors.has(entry)) this.#noteSuccess(entry, provided)
    }
    return errors
  }

  /** The provider answers; a hook that fails is no reason to take the value for revoked. */
  #noteAnswer(entry: Entry): void {
    entry.refreshedAt = this.#settings.clock.now()
    entry.isUnanswered = false
    entry.slot.isStale = false
  }

  #noteSuccess(entry: Entry, { version, expiresAt }: ProvidedSecret): void {
    entry.slot.version = version
    entry.slot.expiresAt = expiresAt
    entry.failures = 0
    this.#warnOfExpiry(entry)
  }

  #noteFailure(entry: Entry, error: unknown): void {
    const { clock, reports } = this.#settings
    const ageMs = clock.now() - entry.refreshedAt
    entry.failures += 1
    const { slot, kept } = entry
    const { isStale: wasStale } = slot
    const { isUnanswered: wasUnanswered } = entry
    slot.isStale = ageMs >= kept.maxStaleMs
    entry.isUnanswered = true
    // Once when it begins, and once when the value is no longer used.
    if (!wasUnanswered || slot.isStale !== wasStale) reports.stale(entry.name, ageMs, error)
  }

  #warnOfExpiry(entry: Entry): void {
    const { clock, warnBeforeMs, reports } = this.#settings
    const { expiresAt, version } = entry.slot
    if (expiresAt === undefined || entry.warnedFor === version) return
    const leftMs = expiresAt - clock.now()
    if (leftMs > warnBeforeMs) return
    entry.warnedFor = version
    reports.expiring(entry.name, leftMs)
  }

  /** Waits for refreshes that run, and closes the providers that no other keeper uses. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const stop of this.#stopWatching) stop()
    for (const group of this.#groups) group.cancelRefresh()
    for (const { overlaps } of this.#entries.values()) for (const cancel of overlaps) cancel()
    await Promise.all(this.#groups.flatMap(({ running }) => running ?? []))
    await Promise.all([...this.providers].map((provider) => this.#release(provider)))
  }

  async #release(provider: SecretsProvider): Promise<void> {
    if (!releaseProvider(provider) || provider.close === undefined) return
    try {
      await bounded(provider.close(), { ...this.#settings, name: provider.name })
    } catch (error) {
      const { deadlineMs, onError } = this.#settings
      const isError = error instanceof Error
      onError(isError ? error : new PARAPET_SECRETS_PROVIDER_TIMEOUT(provider.name, deadlineMs))
    }
  }
}
