/** Publishes the latest checkpoint outside the log. It never delays the steps of the log. */
import { withDeadline, type Clock } from '@parapet/kit'

/** What {@link Publisher} needs. */
export interface PublisherSettings {
  readonly publish: (note: string) => Promise<void>
  readonly deadlineMs: number
  readonly clock: Clock
}

/** Calls that missed their deadline and still run; more are not started. */
const MAX_HUNG = 4

/** Keeps only the latest checkpoint: it proves all earlier ones. */
export class Publisher {
  readonly #settings: PublisherSettings
  #latest: string | undefined
  #hung = 0

  constructor(settings: PublisherSettings) {
    this.#settings = settings
  }

  offer(note: string): void {
    this.#latest = note
  }

  /** Publishes what was offered. @returns `false`: no more is left. @throws the error; it is tried again */
  async publish(): Promise<boolean> {
    const note = this.#latest
    if (note === undefined) return false
    if (this.#hung >= MAX_HUNG) throw new Error('earlier calls of publishCheckpoint still run')
    await this.#inTime(note)
    // A newer one may have been offered in the meantime.
    if (this.#latest === note) this.#latest = undefined
    return this.#latest !== undefined
  }

  async #inTime(note: string): Promise<void> {
    const { publish, deadlineMs, clock } = this.#settings
    const late = () => new Error(`publishCheckpoint did not answer within ${deadlineMs} ms`)
    // Async, so that a function that throws synchronously rejects as well.
    const call = (async () => publish(note))()
    this.#hung++
    call.catch(() => {}).finally(() => this.#hung--)
    await withDeadline(call, deadlineMs, late, clock)
  }
}
