/** Argument checks and window arithmetic that both stores share. */
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'
import type { CountReading, CountWindow, SubscriptionListener } from './store.ts'

/** In UTF-16 code units. */
const MAX_KEY_LENGTH = 512
/** In UTF-16 code units. */
const MAX_VALUE_LENGTH = 1_048_576
/** Ten years: every entry of a store has an end. */
const MAX_TTL_MS = 315_360_000_000
/** Windows that one counter may have. */
export const MAX_WINDOWS = 8
const MAX_AMOUNT = 1_000_000
const MAX_TIMELINE_ENTRIES = 10_000
const MAX_SET_MEMBERS = 100_000

/** @throws PARAPET_KIT_INVALID_ARGUMENT the key is empty, over 512 characters or not well-formed. */
export function requireKey(key: string): void {
  requireText('a store key', key, 1, MAX_KEY_LENGTH)
}

/** @throws PARAPET_KIT_INVALID_ARGUMENT the value is over 1 048 576 characters or not well-formed. */
export function requireValue(value: string): void {
  requireText('a stored value', value, 0, MAX_VALUE_LENGTH)
}

/** @throws PARAPET_KIT_INVALID_ARGUMENT the duration is not an integer from 1 ms to ten years. */
export function requireDuration(name: 'ttlMs' | 'windowMs', value: number): void {
  requireInteger(name, value, 1, MAX_TTL_MS)
}

export function requireTimelineBounds(windowMs: number, maxEntries: number): void {
  requireDuration('windowMs', windowMs)
  requireInteger('maxEntries', maxEntries, 1, MAX_TIMELINE_ENTRIES)
}

export function requireMemberBounds(ttlMs: number, maxMembers: number): void {
  requireDuration('ttlMs', ttlMs)
  requireInteger('maxMembers', maxMembers, 1, MAX_SET_MEMBERS)
}

export function requireCount(windows: readonly CountWindow[], amount: number): void {
  requireInteger('the number of windows', windows.length, 1, MAX_WINDOWS)
  for (const { windowMs, limit, ...unknown } of windows) {
    const [name] = Object.keys(unknown)
    // A misspelled limit would be no limit.
    if (name !== undefined) {
      throw new PARAPET_KIT_INVALID_ARGUMENT(
        `a window's "${name}"`,
        'is unknown; known are windowMs and limit',
      )
    }
    requireDuration('windowMs', windowMs)
    if (limit !== undefined) requireInteger('limit', limit, 0, Number.MAX_SAFE_INTEGER)
  }
  if (new Set(windows.map(({ windowMs }) => windowMs)).size < windows.length) {
    throw new PARAPET_KIT_INVALID_ARGUMENT('windows', 'must differ in their length')
  }
  requireInteger('amount', amount, 0, MAX_AMOUNT)
}

function requireText(name: string, text: string, min: number, max: number): void {
  if (typeof text !== 'string' || text.length < min || text.length > max) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(name, `must be a string of ${min} to ${max} characters`)
  }
  // A lone surrogate is stored as U+FFFD, so two different keys could become one.
  if (!text.isWellFormed()) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(name, 'must be well-formed Unicode')
  }
}

function requireInteger(name: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(
      name,
      `must be an integer from ${min} to ${max}, got ${value}`,
    )
  }
}

/** Wraps a listener, so that one object may subscribe twice. */
export function bindListener(listener: SubscriptionListener): SubscriptionListener {
  return {
    message: (message) => listener.message(message),
    interrupted: (reason) => listener.interrupted(reason),
    restored: () => listener.restored(),
  }
}

/** The two buckets of one window: `bucket` is the number of the current one since the epoch. */
export interface Buckets {
  readonly bucket: number
  readonly current: number
  readonly previous: number
}

/** The buckets at `now`. If the clock steps back, the newest bucket stays current. */
export function rollBuckets(stored: Buckets | undefined, windowMs: number, now: number): Buckets {
  const bucket = Math.floor(now / windowMs)
  if (stored === undefined || stored.bucket < bucket - 1) return { bucket, current: 0, previous: 0 }
  if (stored.bucket === bucket - 1) return { bucket, current: 0, previous: stored.current }
  return stored
}

/** How many the window holds at `now`, rounded up; the Lua script uses the same formula. */
export function weigh(
  { bucket, current, previous }: Buckets,
  windowMs: number,
  now: number,
): number {
  const left = windowMs - Math.max(0, now - bucket * windowMs)
  return Math.ceil((previous * left) / windowMs) + current
}

/** The reading of one window. */
export function readWindow(
  { windowMs, limit = Infinity }: CountWindow,
  buckets: Buckets,
  amount: number,
  now: number,
): CountReading {
  const endsAt = (buckets.bucket + 1) * windowMs
  const { current, previous } = buckets
  const left = current > 0 ? endsAt + windowMs - now : previous > 0 ? endsAt - now : 0
  return {
    count: weigh(buckets, windowMs, now),
    retryAfterMs: fitsAt(buckets, windowMs, limit - amount, now) - now,
    resetMs: left,
  }
}

/** The first moment at which the window holds at most `room`, if nothing more is counted. */
function fitsAt(buckets: Buckets, windowMs: number, room: number, now: number): number {
  if (room < 0) return Infinity
  if (weigh(buckets, windowMs, now) <= room) return now
  const { bucket, current, previous } = buckets
  const decaying =
    current <= room
      ? { start: bucket * windowMs, weight: previous, room: room - current }
      : { start: (bucket + 1) * windowMs, weight: current, room }
  const share = decaying.room / decaying.weight
  return decaying.start + Math.max(0, Math.ceil(windowMs - share * windowMs))
}
