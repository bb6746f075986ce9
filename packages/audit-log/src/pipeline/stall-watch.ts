/** Notices that records do not reach the log, whatever the reason. */
import type { Clock, SecurityEvents } from '@parapet/kit'
import type { LogStore } from '../log/log-store.ts'
import type { Shipper } from './shipper.ts'

/** What {@link StallWatch} needs. */
export interface StallSettings {
  readonly shipper: Shipper
  readonly store: LogStore
  readonly clock: Clock
  readonly events: SecurityEvents
  readonly stallMs: number
  /** A store that is down is not asked. */
  readonly storeIsUp: () => boolean
  /** Why records wait, as far as it is known. */
  readonly problem: () => string | undefined
}

/** Measures the age of the oldest record that is not in the log. */
export class StallWatch {
  readonly #settings: StallSettings
  #since: number | undefined

  constructor(settings: StallSettings) {
    this.#settings = settings
  }

  /** Looks once, and emits an event when a stall begins or ends. */
  async check(): Promise<void> {
    const { clock, events, stallMs, problem } = this.#settings
    const oldestUnsequencedMs = await this.oldestUnsequencedMs()
    if (this.#since === undefined && oldestUnsequencedMs >= stallMs) {
      this.#since = clock.now()
      const details = { oldestUnsequencedMs, problem: problem() ?? 'unknown' }
      events.emit('audit_log.stalled', { details })
    } else if (this.#since !== undefined && oldestUnsequencedMs < stallMs) {
      events.emit('audit_log.stall_ended', { details: { stalledMs: clock.now() - this.#since } })
      this.#since = undefined
    }
  }

  /** 0 if every record is in the log. */
  async oldestUnsequencedMs(): Promise<number> {
    const { shipper, store, clock, storeIsUp } = this.#settings
    // A role that only writes cannot see the inbox.
    const waiting = storeIsUp() ? await store.oldestWaiting().catch(() => null) : null
    const oldest = Math.min(shipper.oldestTime ?? Infinity, waiting ?? Infinity)
    return oldest === Infinity ? 0 : Math.max(0, clock.now() - oldest)
  }
}
