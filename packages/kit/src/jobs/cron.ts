/** Times at which a recurring job is due: an interval, or the five fields of cron in UTC. */
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'

/** A schedule. */
export interface Schedule {
  /** The first time after `after`, both in milliseconds since the epoch. */
  readonly next: (after: number) => number
}

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** The calendar with its weekdays repeats after 400 years: a day that is not found by then never comes. */
const LONGEST_SEARCH_DAYS = 146_097

/** @throws PARAPET_KIT_INVALID_ARGUMENT */
export function parseSchedule(schedule: number | string): Schedule {
  if (typeof schedule === 'string') return parseCron(schedule)
  if (!Number.isSafeInteger(schedule) || schedule < 1000 || schedule > 31_536_000_000) {
    refuse(`must be an integer from 1000 to 31536000000 (milliseconds), got ${String(schedule)}`)
  }
  return { next: (after) => (Math.floor(after / schedule) + 1) * schedule }
}

/**
 * Reads minute, hour, day of month, month, and day of week (0 or 7: Sunday): each `*`, numbers, ranges, and
 * steps, in lists. As in cron, a day matches one of its two fields where both are restricted.
 */
function parseCron(text: string): Schedule {
  const fields = text.trim().split(/\s+/)
  if (fields.length !== 5) refuse('must have five fields: minute hour day month weekday, in UTC')
  const minutes = parseField(fields[0]!, 0, 59)
  const hours = parseField(fields[1]!, 0, 23)
  const days = new Set(parseField(fields[2]!, 1, 31))
  const months = new Set(parseField(fields[3]!, 1, 12))
  const weekdays = new Set(parseField(fields[4]!, 0, 7).map((day) => day % 7))
  const anyDay = fields[2]!.startsWith('*') || fields[4]!.startsWith('*')
  const isDue = (date: Date): boolean => {
    const inDays = days.has(date.getUTCDate())
    const inWeek = weekdays.has(date.getUTCDay())
    return months.has(date.getUTCMonth() + 1) && (anyDay ? inDays && inWeek : inDays || inWeek)
  }
  const search = (after: number): number => {
    const today = Math.floor(after / DAY_MS) * DAY_MS
    for (let day = 0; day < LONGEST_SEARCH_DAYS; day++) {
      const start = today + day * DAY_MS
      if (!isDue(new Date(start))) continue
      for (const hour of hours) {
        for (const minute of minutes) {
          const time = start + (hour * 60 + minute) * MINUTE_MS
          if (time > after) return time
        }
      }
    }
    return refuse('never comes, such as 30 February')
  }
  // A search may be long, and the answer is the same until it has passed.
  let known = { after: 0, time: search(0) }
  return {
    next(after) {
      if (after < known.after || after >= known.time) known = { after, time: search(after) }
      return known.time
    },
  }
}

/** The numbers of a field, in order. */
function parseField(field: string, min: number, max: number): number[] {
  const values = new Set<number>()
  for (const part of field.split(',')) {
    const match = /^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part)
    if (match === null) refuse('may have "*", numbers, "a-b", "/n" and lists in each field')
    const [, first, last, step] = match
    const from = first === undefined ? min : Number(first)
    const single = first !== undefined && last === undefined && step === undefined
    const to = last !== undefined ? Number(last) : single ? from : max
    if (from < min || to > max || from > to || step === '0') {
      refuse(`has a field outside of ${min} to ${max}`)
    }
    for (let value = from; value <= to; value += Number(step ?? 1)) values.add(value)
  }
  return [...values].toSorted((a, b) => a - b)
}

function refuse(problem: string): never {
  throw new PARAPET_KIT_INVALID_ARGUMENT('the schedule', problem)
}
