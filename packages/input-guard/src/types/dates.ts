/** Dates and ranges of dates, compared with the clock and with each other. @see RFC 3339, section 5.6 */
import { Type, type TObject, type TString } from '@sinclair/typebox'
import {
  checkSettings,
  commonOf,
  fault,
  GUARD,
  guardedString,
  refuseType,
  withoutUndefined,
  type CheckTools,
  type CommonOptions,
  type Fault,
  type TextCheck,
} from './check.ts'

/** Options of {@link PastDate} and {@link FutureDate}. */
export interface DateOptions extends CommonOptions {
  /** `date`: `2027-03-01`, a day in UTC; `date-time`: `2027-03-01T10:00:00Z`. @default 'date' */
  readonly format?: 'date' | 'date-time'
  /** How far from now the date may be, in days. @default 73 000 (200 years) */
  readonly maxDays?: number
}

/** A date that has begun: today or earlier. */
export function PastDate(options: DateOptions = {}): TString {
  return dateType('past-date', options)
}

/** A date that has not begun yet: tomorrow or later, or a later moment. */
export function FutureDate(options: DateOptions = {}): TString {
  return dateType('future-date', options)
}

function dateType(type: string, options: DateOptions): TString {
  checkSettings(type, options, { format: ['date', 'date-time'], maxDays: 'number' })
  checkDays(type, options.maxDays)
  const { format = 'date', maxDays } = options
  return guardedString(
    { type, format, maxDays },
    { ...commonOf(options), format, maxLength: format === 'date' ? 10 : 35 },
  )
}

function checkDays(type: string, maxDays = 1): void {
  if (!Number.isSafeInteger(maxDays) || maxDays < 1) {
    refuseType(type, '"maxDays" must be an integer of at least 1')
  }
}

/** Options of {@link DateRange}. */
export interface DateRangeOptions extends CommonOptions {
  /** @default 'date' */
  readonly format?: 'date' | 'date-time'
  /** The longest range, in days. @default 3660 */
  readonly maxDays?: number
  /** Allows ranges whose end is their start. @default true */
  readonly allowEmpty?: boolean
}

/** The keyword of {@link DateRange}. */
export const RANGE_GUARD = `${GUARD}-range`

/** Two dates of which the second is not before the first: `{ from, to }`. */
export function DateRange(options: DateRangeOptions = {}): TObject<{ from: TString; to: TString }> {
  checkSettings('DateRange', options, {
    format: ['date', 'date-time'],
    maxDays: 'number',
    allowEmpty: 'boolean',
  })
  checkDays('DateRange', options.maxDays)
  const { format = 'date', maxDays = 3660, allowEmpty } = options
  const member = (description: string) =>
    guardedString(
      { type: 'date', format },
      { description, format, maxLength: format === 'date' ? 10 : 35 },
    )
  return Type.Object(
    { from: member('The first moment'), to: member('The last moment') },
    {
      ...commonOf(options),
      additionalProperties: false,
      [RANGE_GUARD]: withoutUndefined({ maxDays, allowEmpty }),
    },
  )
}

const DAY_MS = 86_400_000
const MAX_DAYS = 73_000
const ZERO = 0x30
/** 1 January 1970, in days since 29 February of the year 0. */
const EPOCH = 719_469
const DATE = /^\d{4}-\d\d-\d\d$/
const DATE_TIME =
  /^\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/
const NOT_A_DATE = fault('date', 'must be a date such as 2027-03-01')
const NOT_A_DATE_TIME = fault('date_time', 'must be a date and time such as 2027-03-01T10:00:00Z')
const NOT_PAST = fault('date_not_past', 'must not be in the future')
const NOT_FUTURE = fault('date_not_future', 'must be in the future')
const TOO_FAR = fault('date_too_far', 'must be nearer to today')
const REVERSED = fault('range_reversed', 'must end after it begins')
const TOO_LONG = fault('range_too_long', 'must be shorter')

/** The moment of a date in milliseconds, `NaN` if there is no such day. */
function momentOf(text: string, format: 'date' | 'date-time'): number {
  if (!(format === 'date' ? DATE : DATE_TIME).test(text)) return Number.NaN
  // `Date` would read 30 February as 2 March.
  const year = 100 * digitsAt(text, 0) + digitsAt(text, 2)
  const month = digitsAt(text, 5)
  const day = digitsAt(text, 8)
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return Number.NaN
  if (format === 'date') return dayNumber(year, month, day) * DAY_MS
  return Date.parse(text.toUpperCase().replace(' ', 'T'))
}

/** Whether a text is a moment that `Date` and databases read: no leap second, no offset without minutes. */
export function isDateTime(text: string): boolean {
  return !Number.isNaN(momentOf(text, 'date-time'))
}

/** The number that two digits are. */
function digitsAt(text: string, at: number): number {
  return 10 * (text.charCodeAt(at) - ZERO) + text.charCodeAt(at + 1) - ZERO
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Days since 1 January 1970, in a third of the time of `Date.UTC`. */
function dayNumber(year: number, month: number, day: number): number {
  // Years that begin in March end with the leap day.
  const months = (month + 9) % 12
  const years = month < 3 ? year - 1 : year
  const leapDays = Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400)
  return 365 * years + leapDays + Math.floor((153 * months + 2) / 5) + day - EPOCH
}

/** Compiles the check of one date; `future`: it must lie ahead, `past`: it must have begun. */
export function compileDate(
  { type, format = 'date', maxDays = MAX_DAYS }: DateOptions & { readonly type: string },
  { now }: CheckTools,
): TextCheck {
  return (text) => {
    const moment = momentOf(text, format)
    if (Number.isNaN(moment)) return format === 'date' ? NOT_A_DATE : NOT_A_DATE_TIME
    const ahead = moment - now()
    if (type === 'past-date' && ahead > 0) return NOT_PAST
    if (type === 'future-date' && ahead <= 0) return NOT_FUTURE
    return Math.abs(ahead) > maxDays * DAY_MS ? TOO_FAR : text
  }
}

/** Compiles the check of a range. Members that are no dates have their own faults. */
export function compileRange({
  maxDays = 3660,
  allowEmpty = true,
}: Pick<DateRangeOptions, 'maxDays' | 'allowEmpty'>) {
  return ({ from, to }: Readonly<Record<string, unknown>>): Fault | undefined => {
    const [start, end] = [from, to].map((each) =>
      typeof each === 'string' && each.length <= 40
        ? momentOf(each, each.length === 10 ? 'date' : 'date-time')
        : Number.NaN,
    ) as [number, number]
    if (Number.isNaN(start) || Number.isNaN(end)) return undefined
    if (end < start || (end === start && !allowEmpty)) return REVERSED
    return end - start > maxDays * DAY_MS ? TOO_LONG : undefined
  }
}
