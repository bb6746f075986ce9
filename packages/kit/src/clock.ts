/** The clock port: what a plugin asks for the time and for timers, so that no test ever sleeps. */

/** Time and timers. Every plugin takes one as its `clock` option. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /**
   * Runs `task` once, `delayMs` from now. The timer never keeps the process alive.
   *
   * @returns a function that cancels it; calling it late or twice does nothing.
   */
  readonly schedule: (delayMs: number, task: () => void) => () => void
}

/** The machine's clock. */
export const systemClock: Clock = Object.freeze({
  now: Date.now,
  schedule(delayMs: number, task: () => void) {
    const timer = setTimeout(task, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
})

/** A clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves the clock forward and runs, in order of their time, the tasks that fall due. */
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
