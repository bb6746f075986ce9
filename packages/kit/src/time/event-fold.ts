/** Folds repetitions of an event into a count, so that a flood of requests is no flood of events. */
import type { Clock } from './clock.ts'

/** The limits of {@link createEventFold}. */
export interface EventFoldLimits {
  /** An event with the same key is emitted once in this time. */
  readonly windowMs: number
  /** Bounds the memory. */
  readonly maxKeys: number
  /**
   * What happens to a new key while all others are in their window. `suppress` bounds the number of
   * events as well; `evict` needs a limit of its own before the fold.
   */
  readonly whenFull: 'suppress' | 'evict'
}

/**
 * Folds the events that any client can cause, by a key that names what is repeated.
 *
 * @returns a function of the key: how many events were suppressed since the last one with this key, and for keys that were
 *   not kept; `null`: this event is suppressed.
 */
export function createEventFold(
  { windowMs, maxKeys, whenFull }: EventFoldLimits,
  clock: Pick<Clock, 'now'>,
): (key: string) => number | null {
  /** In the order of their last event: the first one is the oldest. */
  const known = new Map<string, { readonly since: number; suppressed: number }>()
  let unkept = 0
  // Also over if the clock was set back.
  const isOpen = (since: number, now: number) => now >= since && now - since < windowMs
  return (key) => {
    const now = clock.now()
    const before = known.get(key)
    if (before !== undefined && isOpen(before.since, now)) {
      before.suppressed++
      return null
    }
    known.delete(key)
    const [oldest] = known
    if (oldest !== undefined && known.size >= maxKeys) {
      if (whenFull === 'suppress' && isOpen(oldest[1].since, now)) {
        unkept += 1 + (before?.suppressed ?? 0)
        return null
      }
      unkept += oldest[1].suppressed
      known.delete(oldest[0])
    }
    const suppressed = unkept + (before?.suppressed ?? 0)
    unkept = 0
    known.set(key, { since: now, suppressed: 0 })
    return suppressed
  }
}
