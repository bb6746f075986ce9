/** A point in time: short to read, exact to a pointer, a keyboard and a screen reader. */
import { formatAgo, formatClock, formatDay, formatExact, formatInstant, toIso } from './format.ts'
import { useNow } from './use-now.ts'

/** The time of day, as lists of the last hours show it. */
export function Clock({ time }: { readonly time: number }) {
  return (
    <time dateTime={toIso(time)} title={formatExact(time)}>
      {formatClock(time)}
    </time>
  )
}

/** Day and time to the second, as evidence needs it. */
export function Instant({ time }: { readonly time: number }) {
  return (
    <time dateTime={toIso(time)} title={formatExact(time)}>
      {formatInstant(time)}
    </time>
  )
}

/** Day and time. */
export function Day({ time }: { readonly time: number }) {
  return (
    <time dateTime={toIso(time)} title={formatExact(time)}>
      {formatDay(time)}
    </time>
  )
}

const REFRESH_MS = 15_000

/** How long ago. */
export function Ago({ time }: { readonly time: number }) {
  const now = useNow(REFRESH_MS)
  return (
    <time dateTime={toIso(time)} title={formatExact(time)}>
      {formatAgo(now - time)}
    </time>
  )
}
