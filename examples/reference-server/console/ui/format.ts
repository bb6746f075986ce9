/** Numbers, times and names as people read them. */

const integer = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
})
const day = new Intl.DateTimeFormat('en-GB', {
  day: '2-digit',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
})
const date = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short' })
const dayOfYear = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' })
const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' })

/** 12,345; 1.2M from a million on. */
export function formatCount(value: number): string {
  return value >= 1_000_000 ? compact.format(value) : integer.format(value)
}

/** 0 B, 21 KiB, 1 GiB. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const at = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${integer.format(bytes / 1024 ** at)} ${units[at]}`
}

/** 0 ms, 0.4 ms, 12 ms, 1.2 s. */
export function formatLatency(ms: number | null): string {
  if (ms === null) return '–'
  if (ms === 0) return '0 ms'
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`
  return `${ms < 10 ? ms.toFixed(1) : integer.format(ms)} ms`
}

/** 0 %, 0.3 %, 12 %. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0 %'
  const percent = (part / whole) * 100
  return `${percent < 10 ? percent.toFixed(1) : integer.format(percent)} %`
}

/** 14:03:09 */
export function formatClock(time: number): string {
  return format(clock, time)
}

/** 26 Nov, 14:03; with the year if it is another one. */
export function formatDay(time: number): string {
  const isThisYear = new Date(time).getFullYear() === new Date().getFullYear()
  return format(isThisYear ? day : dayOfYear, time)
}

/** 26 Nov, 14:03:09 */
export function formatInstant(time: number): string {
  return `${format(date, time)}, ${format(clock, time)}`
}

/** Thursday, 26 November 2026 at 14:03:09 CET. */
export function formatExact(time: number): string {
  return format(exact, time)
}

/** For the attribute `datetime`; empty for what is no time. */
export function toIso(time: number): string {
  return isTime(time) ? new Date(time).toISOString() : ''
}

/** The largest unit is enough: 5 min ago, just now. */
export function formatAgo(ms: number): string {
  return ms < 10_000 ? 'just now' : `${formatDuration(ms, 1)} ago`
}

/** A number from a log or from another instance need not be a time. */
function isTime(time: number): boolean {
  return !Number.isNaN(new Date(time).getTime())
}

function format(formatter: Intl.DateTimeFormat, time: number): string {
  return isTime(time) ? formatter.format(time) : 'unknown'
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const

/** The largest units of a duration: 2 h 5 min. */
export function formatDuration(ms: number, units = 2): string {
  const parts: string[] = []
  let left = Math.max(0, ms)
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size)
    left -= count * size
    if (count > 0) parts.push(`${count} ${unit}`)
    else if (parts.length > 0) break
    if (parts.length === units) break
  }
  return parts.join(' ') || '0 s'
}

/** `credential_stuffing` and `brute-force` as words. */
export function formatWords(name: string): string {
  return name.replaceAll(/[_-]/g, ' ')
}

/** A title; the name of an action, such as `BLOCK_IP`, as words. */
export function formatTitle(title: string): string {
  if (!/^[A-Za-z][A-Za-z_]*$/.test(title)) return title
  return formatWords(title.toLowerCase()).replace(/^./, (first) => first.toUpperCase())
}

/** Who did something: the end of a principal's id, or the name of a playbook or rule. */
export function formatActor(by: string): string {
  return /^[0-9a-f-]{36}$/.test(by) ? by.slice(-8) : by.replace(/^(?:playbook|rule):/, '')
}

/** The end of a UUID, which differs also in ids of the same second. */
export function shortId(id: string): string {
  return id.length > 12 ? id.slice(-8) : id
}
