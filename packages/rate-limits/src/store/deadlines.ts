/**
 * One deadline for many calls. All calls have the same time, so that a queue and one timer serve them: a
 * timer for each call would cost more than the rest of it.
 */
import type { Clock } from '@parapet/kit'

interface Pending {
  readonly endMs: number
  readonly reject: (error: Error) => void
  isSettled: boolean
}

export class Deadlines {
  readonly #deadlineMs: number
  readonly #clock: Clock
  readonly #late: () => Error
  readonly #nowMs: () => number
  /** In the order in which they end. */
  #queue: Pending[] = []
  #isScheduled = false

  constructor(deadlineMs: number, clock: Clock, late: () => Error) {
    this.#deadlineMs = deadlineMs
    this.#clock = clock
    this.#late = late
    this.#nowMs = clock.monotonic ?? clock.now
  }

  /**
   * Waits for `answer` until the deadline. The operation itself is not cancelled.
   *
   * @param again another operation within the same deadline, where the first one failed so.
   */
  limit<T>(answer: Promise<T>, again?: (error: unknown) => Promise<T> | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const pending = { endMs: this.#nowMs() + this.#deadlineMs, reject, isSettled: false }
      this.#queue.push(pending)
      if (!this.#isScheduled) this.#schedule(this.#deadlineMs)
      const succeed = (value: T): void => {
        pending.isSettled = true
        resolve(value)
      }
      const fail = (error: unknown): void => {
        pending.isSettled = true
        reject(error)
      }
      answer.then(succeed, (error: unknown) => {
        const next = again?.(error)
        if (next === undefined) fail(error)
        else next.then(succeed, fail)
      })
    })
  }

  #schedule(delayMs: number): void {
    this.#isScheduled = true
    this.#clock.schedule(Math.max(1, Math.ceil(delayMs)), () => this.#expire())
  }

  #expire(): void {
    this.#isScheduled = false
    const now = this.#nowMs()
    const late = this.#queue.filter(({ isSettled, endMs }) => !isSettled && endMs <= now)
    this.#queue = this.#queue.filter(({ isSettled, endMs }) => !isSettled && endMs > now)
    const [next] = this.#queue
    if (next !== undefined) this.#schedule(next.endMs - now)
    if (late.length === 0) return
    // After a busy spell of this process, timers run before the replies that have arrived meanwhile are read.
    setImmediate(() => {
      for (const { isSettled, reject } of late) if (!isSettled) reject(this.#late())
    })
  }
}
