/** Quiet hours: until when a message of a severity waits. Pure. */
import type { IncidentSeverity } from '../incidents/incident.ts'

/** A time of the day in which messages wait. */
export interface QuietHours {
  /** `22:00`. */
  readonly from: string
  /** `07:00`; on the next day if it is not after `from`. */
  readonly to: string
  /** A time zone of the IANA database: `Europe/Berlin`. @default 'UTC' */
  readonly timeZone?: string
}

/** Quiet hours by severity. `critical` has none. */
export type QuietHoursBySeverity = Readonly<
  Partial<Record<Exclude<IncidentSeverity, 'critical'>, QuietHours | undefined>>
>

const MINUTE_MS = 60_000
const DAY_MINUTES = 1440
export const TIME_OF_DAY = /^(?:[01]\d|2[0-3]):[0-5]\d$/

/** When a message may be sent: `at`, or the end of the quiet hours that it falls into. */
export function afterQuietHours(at: number, hours: QuietHours | undefined): number {
  if (hours === undefined) return at
  const { from, to, timeZone = 'UTC' } = hours
  const [start, end] = [minutesOf(from), minutesOf(to)]
  // The whole day: messages come once a day.
  const length = (end - start + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES - 1
  const minuteOfDay = clockOf(timeZone)
  const leftAt = (time: number) =>
    Math.max(0, length - ((minuteOfDay(time) - start + DAY_MINUTES) % DAY_MINUTES))
  let left = leftAt(at)
  if (left === 0) return at
  // The clocks may be changed in that night: the end is looked for between a quiet minute and one that is not.
  let [quiet, awake] = [Math.floor(at / MINUTE_MS), Math.floor(at / MINUTE_MS)]
  for (; left > 0; left = leftAt(awake * MINUTE_MS)) {
    quiet = awake
    awake += left
  }
  while (awake - quiet > 1) {
    const middle = Math.floor((quiet + awake) / 2)
    if (leftAt(middle * MINUTE_MS) > 0) quiet = middle
    else awake = middle
  }
  return awake * MINUTE_MS
}

/** Whether a time zone is known. */
export function isTimeZone(timeZone: string): boolean {
  try {
    clockOf(timeZone)
    return true
  } catch {
    return false
  }
}

function minutesOf(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number)
  return hours * 60 + minutes
}

/** Tells the minute of the day in a time zone. */
function clockOf(timeZone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  return (at) => minutesOf(format.format(at))
}
