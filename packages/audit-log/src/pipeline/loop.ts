/** Repeats a task, never concurrently, and with longer pauses while it fails. */
import type { Clock } from '@parapet/kit'

/** What {@link Loop} needs. */
export interface LoopSettings {
  readonly clock: Clock
  /** The pause between two runs, in milliseconds. */
  readonly intervalMs: number
  /** One run; `true` starts the next run without a pause. */
  readonly task: () => Promise<boolean>
  readonly onError: (error: unknown) => void
}

const MAX_PAUSE_MS = 30_000

/** Runs until it is closed. */
export class Loop {
  readonly #settings: LoopSettings
  #cancel: (() => void) | undefined
  #running: Promise<boolean> | undefined
  #failures = 0
  #closed = false

  constructor(settings: LoopSettings) {
    this.#settings = settings
  }

  /** Runs now instead of after the pause. Does nothing while the task fails, to keep its longer pauses. */
  wake(): void {
    if (this.#closed || this.#running !== undefined || this.#failures > 0) return
    void this.run().catch(() => {})
  }

  /** Starts the pauses. */
  start(): void {
    this.#plan()
  }

  /** Runs now, or waits for the current run. @returns the task's result. @throws the task's error */
  run(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false)
    this.#cancel?.()
    this.#cancel = undefined
    this.#running ??= this.#attempt().finally(() => {
      this.#running = undefined
      this.#plan()
    })
    return this.#running
  }

  /** Stops, and waits for the current run. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await this.#running?.catch(() => {})
  }

  async #attempt(): Promise<boolean> {
    try {
      let again = false
      do again = await this.#settings.task()
      while (again && !this.#closed)
      this.#failures = 0
      return again
    } catch (error) {
      this.#failures++
      this.#settings.onError(error)
      throw error
    }
  }

  #plan(): void {
    if (this.#closed || this.#cancel !== undefined) return
    const { clock, intervalMs } = this.#settings
    const pause = Math.min(intervalMs * 2 ** Math.min(this.#failures, 16), MAX_PAUSE_MS)
    this.#cancel = clock.schedule(Math.max(pause, intervalMs), () => {
      this.#cancel = undefined
      void this.run().catch(() => {})
    })
  }
}
