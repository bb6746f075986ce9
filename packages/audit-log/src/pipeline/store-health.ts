/** Emits an event when the store fails, and another when it works again. */
import type { SecurityEvents } from '@parapet/kit'
import { SequencerConflict } from '../log/log-store.ts'

const MAX_REASON = 200

/** A part of the pipeline that calls the store; one may fail while the other works. */
export type StorePart = 'ship' | 'sequence'

/** Remembers since when the store fails. */
export class StoreHealth {
  readonly #now: () => number
  readonly #events: SecurityEvents
  #downSince: number | undefined
  /** Why each failing part fails. */
  readonly #reasons = new Map<StorePart, string>()

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
    return this.#reasons.values().next().value
  }

  fail(part: StorePart, error: unknown): void {
    this.#reasons.set(part, reasonOf(error))
    if (this.#downSince !== undefined) return
    this.#downSince = this.#now()
    this.#events.emit('audit_log.store_lost', { details: { reason: reasonOf(error) } })
  }

  /** The store works again when every part does. */
  succeed(part: StorePart): void {
    this.#reasons.delete(part)
    if (this.#downSince === undefined || this.#reasons.size > 0) return
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
