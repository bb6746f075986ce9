/** A task that runs again and again, never twice at once, and slower while it fails. */
import type { Clock } from '@parapet/kit'

/** What {@link Loop} takes. */
export interface LoopSettings {
  readonly clock: Clock
  /** The pause between two runs. */
  readonly intervalMs: number
  /** Runs once; `true` asks for another run at once. */
  readonly task: () => Promise<boolean>
  readonly onError: (error: unknown) => void
}

const MAX_PAUSE_MS = 30_000

/** See the top of the file. */
export class Loop {
  readonly #settings: LoopSettings
  #cancel: (() => void) | undefined
  #running: Promise<boolean> | undefined
  #failures = 0
  #closed = false

  constructor(settings: LoopSettings) {
    this.#settings = settings
  }

  /** Runs at once instead of after the pause; not while the task fails, so that its pauses hold. */
  wake(): void {
    if (this.#closed || this.#running !== undefined || this.#failures > 0) return
    void this.run().catch(() => {})
  }

  /** Begins the pauses. */
  start(): void {
    this.#plan()
  }

  /** Runs now, or joins the run that is under way. @returns what the task returned. @throws what it threw */
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

  /** Ends the pauses and waits for a run that is under way. */
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
