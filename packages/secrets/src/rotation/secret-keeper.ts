/**
 * Loads secrets at boot, refreshes them in the background, and rotates those that changed. The file is long
 * because loading, refreshing, rotating and closing share the state of one entry.
 */
import type { Clock } from '@parapet/kit'
import {
  PARAPET_SECRETS_NOT_LOADED,
  PARAPET_SECRETS_PROVIDER_TIMEOUT,
  PARAPET_SECRETS_ROTATION_FAILED,
  PARAPET_SECRETS_UNKNOWN,
} from '../errors.ts'
import { bounded, type ProvidedSecret, type SecretsProvider } from '../providers/provider.ts'
import { Secret } from '../value/secret.ts'
import { runHooks, type RotationHook } from './rotation-hooks.ts'
import { SecretSlot, type RotatingSecret } from './rotating-secret.ts'

/** Where a secret is, and how it is kept. */
export interface KeptSecret {
  readonly provider: SecretsProvider
  readonly path: string
  readonly refreshMs: number
  readonly overlapMs: number
  readonly maxStaleMs: number
}

/** What the keeper tells. */
export interface KeeperReports {
  rotated(name: string, version: string, overlapMs: number): void
  rotationFailed(name: string, step: string, error: unknown): void
  expiring(name: string, expiresInMs: number): void
  stale(name: string, ageMs: number, error: unknown): void
  /** The values that may work have changed: the leak guard learns them. */
  inUse(): void
}

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

interface Entry {
  readonly name: string
  readonly kept: KeptSecret
  readonly slot: SecretSlot
  readonly hooks: RotationHook[]
  refreshedAt: number
  failures: number
  warnedFor: string | undefined
  running: Promise<void> | undefined
  cancelRefresh: () => void
  readonly overlaps: Set<() => void>
}

const FIRST_RETRY_MS = 1000

/** Keeps the secrets. */
export class SecretKeeper {
  readonly #settings: KeeperSettings
  readonly #entries = new Map<string, Entry>()
  #stopWatching: (() => void)[] = []
  #isClosed = false

  private constructor(settings: KeeperSettings) {
    this.#settings = settings
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
    if (faults.length > 0) throw new PARAPET_SECRETS_NOT_LOADED(faults.toSorted().join('\n'))
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
    await entry.running?.catch(() => {})
    await this.#refresh(entry)
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name)
    if (entry === undefined) throw new PARAPET_SECRETS_UNKNOWN(name)
    return entry
  }

  #read({ provider, path }: KeptSecret): Promise<ProvidedSecret> {
    return bounded(provider.read(path), { ...this.#settings, name: provider.name })
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
      warnedFor: undefined,
      running: undefined,
      cancelRefresh: () => {},
      overlaps: new Set(),
    }
    this.#entries.set(name, entry)
    this.#schedule(entry)
  }

  #watch(provider: SecretsProvider): void {
    const stop = provider.watch?.(() => {
      for (const entry of this.#entries.values()) {
        if (entry.kept.provider === provider) this.#refreshInBackground(entry)
      }
    })
    if (stop !== undefined) this.#stopWatching.push(stop)
  }

  /** The next refresh: jittered, so that a fleet does not ask at the same moment; soon after a failure. */
  #schedule(entry: Entry): void {
    entry.cancelRefresh()
    if (this.#isClosed) return
    const { jitterRatio, clock, random } = this.#settings
    const { refreshMs } = entry.kept
    const wait =
      entry.failures === 0
        ? refreshMs * (1 - jitterRatio * random())
        : Math.min(
            refreshMs,
            FIRST_RETRY_MS * 2 ** Math.min(20, entry.failures - 1) * (1 + random()),
          )
    entry.cancelRefresh = clock.schedule(Math.max(1, Math.round(wait)), () =>
      this.#refreshInBackground(entry),
    )
  }

  /** What fails was reported. */
  #refreshInBackground(entry: Entry): void {
    this.#refresh(entry).catch(() => {})
  }

  #refresh(entry: Entry): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    entry.running ??= this.#refreshOnce(entry).finally(() => {
      entry.running = undefined
      this.#schedule(entry)
    })
    return entry.running
  }

  async #refreshOnce(entry: Entry): Promise<void> {
    let provided: ProvidedSecret
    try {
      provided = await this.#read(entry.kept)
    } catch (error) {
      this.#noteFailure(entry, error)
      throw error
    }
    if (this.#isClosed) return
    const { slot } = entry
    if (slot.last.equals(provided.value)) {
      slot.version = provided.version
      slot.expiresAt = provided.expiresAt
    } else {
      await this.#rotate(entry, provided)
    }
    entry.refreshedAt = this.#settings.clock.now()
    entry.failures = 0
    slot.isStale = false
    this.#warnOfExpiry(entry)
  }

  #noteFailure(entry: Entry, error: unknown): void {
    const { clock, reports } = this.#settings
    const ageMs = clock.now() - entry.refreshedAt
    entry.failures += 1
    const { slot, kept } = entry
    const wasStale = slot.isStale
    slot.isStale = ageMs >= kept.maxStaleMs
    // Once when it begins, and once when the value is no longer used.
    if (entry.failures === 1 || slot.isStale !== wasStale) reports.stale(entry.name, ageMs, error)
  }

  async #rotate(entry: Entry, { value, version, expiresAt }: ProvidedSecret): Promise<void> {
    const { reports, clock } = this.#settings
    const { name, slot, kept } = entry
    const next = new Secret(value)
    // Hooks may log it; it works at the provider, also if they fail.
    slot.introduce(next)
    reports.inUse()
    try {
      await runHooks([...entry.hooks], { name, next, former: slot.last, version }, this.#settings)
    } catch (error) {
      entry.failures += 1
      reports.rotationFailed(name, 'onRotate', error)
      throw new PARAPET_SECRETS_ROTATION_FAILED(name, reasonOf(error), { cause: error })
    }
    const former = slot.last
    slot.replace(next, version, expiresAt)
    entry.warnedFor = undefined
    // Each former value has its own overlap, also if the next rotation comes sooner.
    const cancel = clock.schedule(kept.overlapMs, () => {
      entry.overlaps.delete(cancel)
      slot.retire(former)
      reports.inUse()
    })
    entry.overlaps.add(cancel)
    reports.inUse()
    reports.rotated(name, version, kept.overlapMs)
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

  /** Waits for refreshes that run, and closes the providers. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const stop of this.#stopWatching) stop()
    for (const entry of this.#entries.values()) {
      entry.cancelRefresh()
      for (const cancel of entry.overlaps) cancel()
    }
    await Promise.allSettled([...this.#entries.values()].flatMap(({ running }) => running ?? []))
    const closing = [...this.providers].map(async (provider) => {
      const { deadlineMs, onError } = this.#settings
      if (provider.close === undefined) return
      await bounded(provider.close(), { ...this.#settings, name: provider.name }).catch((error) => {
        onError(
          error instanceof Error
            ? error
            : new PARAPET_SECRETS_PROVIDER_TIMEOUT(provider.name, deadlineMs),
        )
      })
    })
    await Promise.all(closing)
  }
}

/** The message of an error of this package; of others only the code or the name, as their message may quote a value. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const { code } = error as NodeJS.ErrnoException
  if (code?.startsWith('PARAPET_') === true) return error.message
  return code ?? error.name
}
