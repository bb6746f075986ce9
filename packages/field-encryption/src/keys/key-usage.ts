/** Counts the values that each key has sealed, across all processes, so that no key exceeds its limit. */
import { MAX_KEY_USES, type KeyUsage } from '../crypto/aead.ts'
import type { KeyScope } from '../key-ring/key-ring.ts'
import type { Keyset } from '../crypto/keyset.ts'
import { LruMap } from '../crypto/lru-map.ts'
import { nameOfScope, type KeysetRepository } from './keyset-repository.ts'

/** Uses after which the count is written to the key store. */
const FLUSH_USES = 4096
/** Fewer uses are not written: a statement for them costs more than the inexact count matters. */
const MIN_FLUSH_USES = 256
/** From this count on, a rotation is due. */
const NEAR_LIMIT = MAX_KEY_USES / 2

interface TrackedUsage extends KeyUsage {
  readonly scope: KeyScope
  readonly keyId: number
  /** The part of `count` that is in the key store. */
  reported: number
  /** The running write; the next one waits for it. */
  writing: Promise<void>
  hasWarned: boolean
}

/** What {@link KeyUsageTracker} needs. */
export interface KeyUsagePorts {
  readonly repository: KeysetRepository
  readonly maxEntries: number
  /** Called once for each key that has reached half of its limit. */
  readonly onNearLimit: (scope: KeyScope, keyId: number) => void
}

/** Tracks the usage of the cached primary keys. */
export class KeyUsageTracker {
  readonly #ports: KeyUsagePorts
  readonly #usages: LruMap<string, TrackedUsage>

  constructor(ports: KeyUsagePorts) {
    this.#ports = ports
    this.#usages = new LruMap(ports.maxEntries)
  }

  /** The usage of a keyset's primary key. Reloading the keyset returns the same object. */
  usageOf(scope: KeyScope, { primaryKeyId }: Keyset): KeyUsage {
    const name = `${nameOfScope(scope)}:${primaryKeyId}`
    const known = this.#usages.get(name)
    if (known !== undefined) return known
    const counts = { count: 0, reported: 0, limit: MAX_KEY_USES, hasWarned: false }
    const usage = { scope, keyId: primaryKeyId, ...counts, writing: Promise.resolve() }
    this.#usages.set(name, usage)
    return usage
  }

  /** Writes the count in the background if enough was sealed, and warns near the limit. */
  check(keyUsage: KeyUsage): void {
    const usage = keyUsage as TrackedUsage
    // A failed write loses nothing: the next one includes its uses.
    if (usage.count - usage.reported >= FLUSH_USES) this.#write(usage).catch(() => {})
    if (usage.count >= NEAR_LIMIT && !usage.hasWarned) {
      usage.hasWarned = true
      this.#ports.onNearLimit(usage.scope, usage.keyId)
    }
  }

  /** Writes all counts that have changed enough. */
  async flush(): Promise<void> {
    await Promise.all([...this.#usages.values()].map((usage) => this.#write(usage)))
  }

  #write(usage: TrackedUsage): Promise<void> {
    const written = usage.writing.then(() => this.#addUses(usage))
    usage.writing = written.catch(() => {})
    return written
  }

  async #addUses(usage: TrackedUsage): Promise<void> {
    const { tenant, subject } = usage.scope
    const before = usage.reported
    const amount = usage.count - before
    if (amount < MIN_FLUSH_USES) return
    usage.reported = usage.count
    try {
      const total = await this.#ports.repository.query((store) =>
        store.addUses(tenant, subject ?? '', usage.keyId, amount),
      )
      // The total lacks the values that were sealed during the write.
      usage.count = total + usage.count - usage.reported
      usage.reported = total
    } catch (error) {
      usage.reported = before
      throw error
    }
  }
}
