/** Counts what keys have sealed, across the processes of a fleet, so that no key outlives its nonces. */
import { MAX_KEY_USES, type UsageMeter } from './aead.ts'
import { BoundedMap } from './bounded-map.ts'
import type { KeyCachePorts } from './key-cache-ports.ts'
import type { KeyScope } from './key-ring.ts'
import { nameOfScope } from './key-vault.ts'
import type { Keyset } from './keyset.ts'

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
  /** The last report; the next one waits for it. */
  telling: Promise<void>
  warned: boolean
}

/** The meters of the primary keys that are at hand. */
export class UsageMeters {
  readonly #ports: KeyCachePorts
  readonly #meters: BoundedMap<string, Meter>

  constructor(ports: KeyCachePorts) {
    this.#ports = ports
    this.#meters = new BoundedMap(ports.maxEntries)
  }

  /** The meter of a keyset's primary key; the same one when the keyset is loaded anew. */
  of(scope: KeyScope, { primaryKeyId }: Keyset): UsageMeter {
    const name = `${nameOfScope(scope)}:${primaryKeyId}`
    const known = this.#meters.get(name)
    if (known !== undefined) return known
    const counts = { count: 0, reported: 0, limit: MAX_KEY_USES, warned: false }
    const meter = { scope, keyId: primaryKeyId, ...counts, telling: Promise.resolve() }
    this.#meters.set(name, meter)
    return meter
  }

  /** Tells the key table when enough was sealed, and whoever rotates when it was too much. */
  check(usage: UsageMeter): void {
    const meter = usage as Meter
    // What cannot be told now is told with the next.
    if (meter.count - meter.reported >= FLUSH_USES) this.#tell(meter).catch(() => {})
    if (meter.count >= NEAR_LIMIT && !meter.warned) {
      meter.warned = true
      this.#ports.onNearLimit(meter.scope, meter.keyId)
    }
  }

  /** Tells the key table what it does not know yet, where that is worth a statement. */
  async flush(): Promise<void> {
    await Promise.all([...this.#meters.values()].map((meter) => this.#tell(meter)))
  }

  #tell(meter: Meter): Promise<void> {
    const told = meter.telling.then(() => this.#report(meter))
    meter.telling = told.catch(() => {})
    return told
  }

  async #report(meter: Meter): Promise<void> {
    const { tenant, subject } = meter.scope
    const before = meter.reported
    const amount = meter.count - before
    if (amount < WORTH_USES) return
    meter.reported = meter.count
    try {
      const total = await this.#ports.vault.ask((store) =>
        store.addUses(tenant, subject ?? '', meter.keyId, amount),
      )
      // What was sealed meanwhile is not in the total.
      meter.count = total + meter.count - meter.reported
      meter.reported = total
    } catch (error) {
      meter.reported = before
      throw error
    }
  }
}
