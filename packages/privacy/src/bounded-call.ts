/** Calls functions of the application that may hang. */
import { withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_PRIVACY_TIMEOUT } from './errors.ts'

/** How long a call may take, by which clock. */
export interface CallLimits {
  readonly clock: Clock
  readonly deadlineMs: number
}

/** Calls a function within its time, and tells it to stop when the time is over. @throws PARAPET_PRIVACY_TIMEOUT */
export async function bounded<T>(
  { clock, deadlineMs }: CallLimits,
  name: string,
  signal: AbortSignal,
  call: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const own = new AbortController()
  const late = () => new PARAPET_PRIVACY_TIMEOUT(name, deadlineMs)
  try {
    // Async: an application without types may give a function that returns no promise.
    const running = (async () => call(AbortSignal.any([signal, own.signal])))()
    return await withDeadline(running, deadlineMs, late, clock)
  } catch (error) {
    own.abort(error)
    throw error
  }
}
