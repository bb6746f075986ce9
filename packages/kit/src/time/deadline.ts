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
    const cancel = clock.schedule(deadlineMs, () => reject(late()))
    answer.then(resolve, reject).finally(cancel)
  })
}
