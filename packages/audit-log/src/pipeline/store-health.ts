/** Emits an event when the store fails, and another when it works again. */
import type { SecurityEvents } from '@parapet/kit'
import { SequencerConflict } from '../log/log-store.ts'

const MAX_REASON = 200

/** Remembers since when the store fails. */
export class StoreHealth {
  readonly #now: () => number
  readonly #events: SecurityEvents
  #downSince: number | undefined
  #reason: string | undefined

  /** @param now milliseconds since the Unix epoch. */
  constructor(now: () => number, events: SecurityEvents) {
    this.#now = now
    this.#events = events
  }

  get isUp(): boolean {
    return this.#downSince === undefined
  }

  /** Why the store fails; `undefined` while it works. */
  get reason(): string | undefined {
    return this.#reason
  }

  fail(error: unknown): void {
    this.#reason = reasonOf(error)
    if (this.#downSince !== undefined) return
    this.#downSince = this.#now()
    this.#events.emit('audit_log.store_lost', { details: { reason: reasonOf(error) } })
  }

  succeed(): void {
    if (this.#downSince === undefined) return
    this.#reason = undefined
    const downMs = this.#now() - this.#downSince
    this.#downSince = undefined
    this.#events.emit('audit_log.store_recovered', { details: { downMs } })
  }
}

/** The start of an error message; a driver's message may continue with the values of the query. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON)
}

/** Whether another sequencer wrote the step first; the next run starts from its result. */
export function isSequencerConflict(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: string }
  // unique_violation and serialization_failure of PostgreSQL
  return error instanceof SequencerConflict || code === '23505' || code === '40001'
}
