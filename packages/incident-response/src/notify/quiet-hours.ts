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
  const [start, end, now] = [minutesOf(from), minutesOf(to), minuteOfDay(at, timeZone)]
  const length = (end - start + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES
  const passed = (now - start + DAY_MINUTES) % DAY_MINUTES
  if (passed >= length) return at
  const wake = Math.floor(at / MINUTE_MS) * MINUTE_MS + (length - passed) * MINUTE_MS
  // The clocks may be changed in that night.
  const missedBy = (end - minuteOfDay(wake, timeZone) + DAY_MINUTES) % DAY_MINUTES
  const isEarly = missedBy < DAY_MINUTES / 2
  return wake + (isEarly ? missedBy : missedBy - DAY_MINUTES) * MINUTE_MS
}

/** Whether a time zone is known. */
export function isTimeZone(timeZone: string): boolean {
  try {
    minuteOfDay(0, timeZone)
    return true
  } catch {
    return false
  }
}

function minutesOf(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number)
  return hours * 60 + minutes
}

function minuteOfDay(at: number, timeZone: string): number {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  return minutesOf(format.format(at))
}
