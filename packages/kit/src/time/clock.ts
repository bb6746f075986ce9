/** The clock port: plugins take time and timers from it, so that no test has to sleep. */

/** Time and timers. Every plugin takes one as its `clock` option. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /**
   * Milliseconds since some moment, which never jump when the clock of the machine is set: for
   * durations within this process. @default `now`
   */
  readonly monotonic?: () => number
  /**
   * Runs `task` once, `delayMs` from now. The timer never keeps the process alive.
   *
   * @returns a function that cancels the task; it may be called late or twice.
   */
  readonly schedule: (delayMs: number, task: () => void) => () => void
}

/** A longer timer of Node.js fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The machine's clock. */
export const systemClock: Clock = Object.freeze({
  now: Date.now,
  monotonic: () => performance.now(),
  schedule(delayMs: number, task: () => void) {
    let left = delayMs
    let timer: NodeJS.Timeout
    const wait = (): void => {
      const step = Math.min(left, LONGEST_TIMER_MS)
      left -= step
      timer = setTimeout(left > 0 ? wait : task, step)
      timer.unref()
    }
    wait()
    return () => clearTimeout(timer)
  },
})

/** A clock that only moves when a test advances it. */
export interface ManualClock extends Clock {
  /** Moves the clock forward and runs the tasks that are due, in order of time. */
  readonly advance: (ms: number) => void
}

/** Makes a {@link ManualClock}. @param startMs the first reading. @default 1_700_000_000_000 */
export function createManualClock(startMs = 1_700_000_000_000): ManualClock {
  let now = startMs
  const tasks = new Set<{ at: number; task: () => void }>()
  return {
    now: () => now,
    schedule(delayMs, task) {
      const entry = { at: now + delayMs, task }
      tasks.add(entry)
      return () => void tasks.delete(entry)
    },
    advance(ms) {
      const until = now + ms
      for (;;) {
        const due = [...tasks]
          .filter((entry) => entry.at <= until)
          .toSorted((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        tasks.delete(due)
        now = Math.max(now, due.at)
        due.task()
      }
      now = until
    },
  }
}
