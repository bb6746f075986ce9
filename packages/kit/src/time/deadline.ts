/** A limit on waiting. */
import { systemClock, type Clock } from './clock.ts'

/**
 * Waits for `answer`, but no longer than `deadlineMs`. The operation itself is not cancelled.
 *
 * @param late makes the error to reject with when the deadline passes.
 * @param clock @default the machine's clock
 */
export function withDeadline<T>(
  answer: Promise<T>,
  deadlineMs: number,
  late: () => Error,
  clock: Clock = systemClock,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isSettled = false
    const cancel = clock.schedule(deadlineMs, () => {
      // After a busy spell of this process, timers run before answers that have arrived are read.
      setImmediate(() => {
        if (!isSettled) reject(late())
      })
    })
    const settle = (): void => {
      isSettled = true
      cancel()
    }
    answer.then(settle, settle)
    answer.then(resolve, reject)
  })
}
