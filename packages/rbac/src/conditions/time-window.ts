/** Compiles a time window to a test of a time. */
import type { TimeWindow, Weekday } from './condition.ts'

const DAYS: readonly Weekday[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const MINUTES_PER_DAY = 1440

/**
 * Compiles a window.
 *
 * @returns whether a time, in milliseconds since the epoch, is inside; `null` if it is infinite.
 * @throws RangeError if a time, a day or the time zone is invalid, or if the window is empty.
 */
export function createTimeWindow(window: TimeWindow): (time: number) => boolean | null {
  const from = minutesOf(window.from)
  const until = minutesOf(window.until)
  const days = window.days.map((day) => DAYS.indexOf(day))
  if (from === until || days.length === 0 || days.includes(-1)) {
    throw new RangeError('needs at least one valid day, and "from" must differ from "until"')
  }
  const read = createLocalClock(window.timeZone)
  const opensOn = new Set(days)
  return (time) => {
    if (!Number.isFinite(time)) return null
    const { day, minute } = read(time)
    if (from < until) return opensOn.has(day) && minute >= from && minute < until
    // After midnight the window belongs to the day on which it opened.
    return minute >= from
      ? opensOn.has(day)
      : minute < until && opensOn.has((day + DAYS.length - 1) % DAYS.length)
  }
}

function minutesOf(text: string): number {
  const parts = /^(\d\d):(\d\d)$/.exec(text)
  const minutes = parts === null ? NaN : Number(parts[1]) * 60 + Number(parts[2])
  if (parts === null || !(minutes <= MINUTES_PER_DAY) || Number(parts[2]) > 59) {
    throw new RangeError(`needs times of day such as "08:00", got "${text}"`)
  }
  return minutes
}

function createLocalClock(timeZone: string): (time: number) => { day: number; minute: number } {
  if (timeZone === 'UTC') {
    return (time) => {
      const date = new Date(time)
      return { day: date.getUTCDay(), minute: date.getUTCHours() * 60 + date.getUTCMinutes() }
    }
  }
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  return (time) => {
    const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, value]))
    return {
      day: DAYS.indexOf(parts.get('weekday')!.toLowerCase() as Weekday),
      minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')),
    }
  }
}
