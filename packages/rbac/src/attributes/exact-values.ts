/** Readers of the attribute types that databases compare exactly. Each yields one form per value. */

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/
const INTEGER = /^-?\d{1,19}$/
const DECIMAL = /^(-?)(\d{1,200})(?:\.(\d{1,40}))?$/
const DATE = /^(\d{4}-\d\d-\d\d)(?:T00:00:00(?:\.0{1,9})?Z)?$/
/** The range of PostgreSQL's `bigint`. */
const MAX_BIGINT = 2n ** 63n
/** The digits after the point of a decimal, which is compared as an integer. */
const SCALE = 40

/** Reads a UUID in lower case. @see RFC 9562, section 4: upper case is accepted as input */
export function readUuid(value: unknown): string | undefined {
  const text = typeof value === 'string' ? value.toLowerCase() : ''
  return UUID.test(text) ? text : undefined
}

/** Reads a 64-bit integer: a bigint, a safe integer or the text that drivers return. */
export function readBigint(value: unknown): bigint | undefined {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return undefined
  if (typeof value === 'string' && !INTEGER.test(value)) return undefined
  if (typeof value !== 'number' && typeof value !== 'string' && typeof value !== 'bigint') {
    return undefined
  }
  const integer = BigInt(value)
  return integer >= -MAX_BIGINT && integer < MAX_BIGINT ? integer : undefined
}

/** Reads a decimal number as its multiple of 10^-40, so that nothing is rounded. */
export function readDecimal(value: unknown): bigint | undefined {
  const text = typeof value === 'number' || typeof value === 'bigint' ? String(value) : value
  const parts = typeof text === 'string' ? DECIMAL.exec(text) : null
  if (parts === null) return undefined
  const [, sign, integer, fraction = ''] = parts
  return BigInt(`${sign}${integer}${fraction.padEnd(SCALE, '0')}`)
}

/** Writes a decimal as text. */
export function decimalText(value: bigint): string {
  const sign = value < 0n ? '-' : ''
  const digits = String(value < 0n ? -value : value).padStart(SCALE + 1, '0')
  const fraction = digits.slice(-SCALE).replace(/0+$/, '')
  return `${sign}${digits.slice(0, -SCALE)}${fraction === '' ? '' : `.${fraction}`}`
}

/**
 * Reads a calendar date as `2026-03-01`. Drivers return a `Date` at midnight, in UTC or in the time
 * zone of the process.
 */
export function readDate(value: unknown): string | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : dayOf(value)
  const day = typeof value === 'string' ? DATE.exec(value)?.[1] : undefined
  if (day === undefined || day < '0001') return undefined
  const time = Date.parse(`${day}T00:00:00Z`)
  const isReal = !Number.isNaN(time) && new Date(time).toISOString().startsWith(day)
  return isReal ? day : undefined
}

function dayOf(date: Date): string | undefined {
  const text = date.toISOString()
  if (text.endsWith('T00:00:00.000Z')) return readDate(text)
  const isLocalMidnight =
    date.getHours() + date.getMinutes() + date.getSeconds() + date.getMilliseconds() === 0
  if (!isLocalMidnight) return undefined
  const [month, day] = [date.getMonth() + 1, date.getDate()].map((each) =>
    String(each).padStart(2, '0'),
  )
  return readDate(`${String(date.getFullYear()).padStart(4, '0')}-${month}-${day}`)
}
