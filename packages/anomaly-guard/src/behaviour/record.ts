/** What is counted of one key: a record of the key table, and how an outcome changes it. */
import { FIRST_FREE_WORD, LAST_WINDOW, LIFE, type RecordPlace } from './key-table.ts'
import type { FeatureDefinition, Outcome } from './types.ts'

/** Offsets in words. The counts of the present and of the previous window lie one behind the other. */
const HOURS = FIRST_FREE_WORD
const AGENTS = HOURS + 1
const COUNTRIES = AGENTS + 1
/** Bytes: new agents and changes of country of the present window, then of the previous one. */
const NOVELTY = COUNTRIES + 1
/** Bytes: the last route, how many rows were learnt in the present window. */
const STATE = NOVELTY + 1
const PRESENT = STATE + 1
const ADDRESSES = 0
/** Two halves: failed authentications, errors. */
const FAILURES = 1
const REQUESTS = 2
const BYTES = 3
const DURATION = 4
const SURPRISE = 5
const COUNTS = 6
const PREVIOUS = PRESENT + COUNTS
const OWN = PREVIOUS + COUNTS

const MAX_HALF = 0xff_ff
/** How many requests a key needs before an unknown hour or user agent counts as new. */
const KNOWN_AFTER = 20
/** One error of one request is no error rate of 1: so many requests without one are assumed before it. */
const PRIOR_REQUESTS = 4
const HOUR_MS = 3_600_000

/** How many words a record has. */
export function recordWordsOf(own: readonly FeatureDefinition[]): number {
  return OWN + 2 * own.length
}

/** What the caller knows about an outcome beside the outcome itself. */
export interface Observation {
  readonly outcome: Outcome
  /** The number of the route, from 1. */
  readonly route: number
  /** How unexpected the route is after the last one, in bits. */
  readonly surprise: number
}

/** Moves the counts on if another window has begun. */
export function rollRecord(place: RecordPlace, window: number, own: number): void {
  const { words, bytes, at } = place
  const last = words[at + LAST_WINDOW]!
  if (last === window || (last > window && last !== 0)) return
  const isNext = window === last + 1
  words.copyWithin(at + PREVIOUS, at + PRESENT, at + PRESENT + COUNTS)
  words.fill(0, at + PRESENT, at + PRESENT + COUNTS)
  const novelty = (at + NOVELTY) * 4
  bytes.copyWithin(novelty + 2, novelty, novelty + 2)
  bytes.fill(0, novelty, novelty + 2)
  for (let i = 0; i < own; i++) {
    words[at + OWN + own + i] = words[at + OWN + i]!
    words[at + OWN + i] = 0
  }
  bytes[(at + STATE) * 4 + 1] = 0
  if (!isNext) {
    words.fill(0, at + PREVIOUS, at + PREVIOUS + COUNTS)
    bytes.fill(0, novelty + 2, novelty + 4)
    words.fill(0, at + OWN + own, at + OWN + 2 * own)
  }
  words[at + LAST_WINDOW] = window
}

/** Counts an outcome. */
export function countOutcome(
  place: RecordPlace,
  observation: Observation,
  own: readonly FeatureDefinition[],
): void {
  const { words, floats, halves, bytes, at } = place
  const { outcome, route, surprise } = observation
  const now = at + PRESENT
  const failures = (now + FAILURES) * 2
  const failed = outcome.failedAuthentication === true ? 1 : 0
  const isError = outcome.statusCode >= 400 ? 1 : 0
  halves[failures] = Math.min(halves[failures]! + failed, MAX_HALF)
  halves[failures + 1] = Math.min(halves[failures + 1]! + isError, MAX_HALF)
  floats[now + REQUESTS]! += 1
  floats[now + BYTES]! += Math.max(0, outcome.bytesOut ?? 0)
  floats[now + DURATION]! += Math.max(0, outcome.durationMs ?? 0)
  floats[now + SURPRISE]! += surprise
  if (outcome.address !== undefined) {
    words[now + ADDRESSES]! |= 1 << (shortHash(outcome.address) & 31)
  }
  noteNovelty(place, outcome)
  words[at + HOURS]! |= 1 << hourOf(outcome.atMs)
  bytes[(at + STATE) * 4] = route
  if (words[at + LIFE]! < 0xffff_ffff) words[at + LIFE]! += 1
  for (const [i, { name, combine = 'sum' }] of own.entries()) {
    const value = outcome.values?.[name]
    if (value === undefined || !Number.isFinite(value)) continue
    const before = floats[at + OWN + i]!
    floats[at + OWN + i] =
      combine === 'sum' ? before + value : combine === 'max' ? Math.max(before, value) : value
  }
}

/** Counts a user agent or a country that the key did not have before, and remembers the last two. */
function noteNovelty(place: RecordPlace, outcome: Outcome): void {
  const { words, bytes, at } = place
  const isKnown = words[at + LIFE]! >= KNOWN_AFTER
  const remembered = [
    [outcome.userAgent, AGENTS, 0],
    [outcome.country, COUNTRIES, 1],
  ] as const
  for (const [value, offset, counter] of remembered) {
    if (value === undefined) continue
    const hash = shortHash(value) || 1
    const both = words[at + offset]!
    if ((both & MAX_HALF) === hash || both >>> 16 === hash) continue
    words[at + offset] = (both << 16) | hash
    const position = (at + NOVELTY) * 4 + counter
    if (isKnown && bytes[position]! < 255) bytes[position]! += 1
  }
}

/** How many features every key has. */
export const BUILT_IN = [
  'requestRate',
  'uniqueAddresses',
  'failedAuthentications',
  'bytesOut',
  'unusualHour',
  'newUserAgent',
  'geoAnomaly',
  'sequenceScore',
  'responseTime',
  'errorRate',
] as const

/**
 * Reads the features of a key over the sliding window that ends now, in their own units.
 *
 * @param elapsed the share of the present window that has passed; the previous one counts for the rest.
 * @param hour read before the outcome was counted, see {@link isUnusualHour}.
 */
export function readFeatures(
  place: RecordPlace,
  { elapsed, unusualHour }: { readonly elapsed: number; readonly unusualHour: boolean },
  own: readonly FeatureDefinition[],
  into: Float64Array,
): void {
  const { words, floats, halves, bytes, at } = place
  const rest = 1 - elapsed
  const slide = (offset: number) =>
    floats[at + PRESENT + offset]! + rest * floats[at + PREVIOUS + offset]!
  const slideHalf = (half: number) =>
    halves[(at + PRESENT + FAILURES) * 2 + half]! +
    rest * halves[(at + PREVIOUS + FAILURES) * 2 + half]!
  const novelty = (at + NOVELTY) * 4
  const requests = Math.max(slide(REQUESTS), 1e-9)
  into[0] = requests
  into[1] = countAddresses(words[at + PRESENT + ADDRESSES]! | words[at + PREVIOUS + ADDRESSES]!)
  into[2] = slideHalf(0)
  into[3] = slide(BYTES)
  into[4] = unusualHour ? 1 : 0
  into[5] = bytes[novelty]! + bytes[novelty + 2]!
  into[6] = bytes[novelty + 1]! + bytes[novelty + 3]!
  into[7] = slide(SURPRISE) / (requests + PRIOR_REQUESTS)
  into[8] = slide(DURATION) / requests
  into[9] = slideHalf(1) / (requests + PRIOR_REQUESTS)
  for (const [i, { combine = 'sum' }] of own.entries()) {
    const now = floats[at + OWN + i]!
    const before = floats[at + OWN + own.length + i]!
    into[BUILT_IN.length + i] =
      combine === 'sum' ? now + rest * before : combine === 'max' ? Math.max(now, before) : now
  }
}

/** Whether a known key has never been active at this hour of the day, nor at the ones beside it. */
export function isUnusualHour({ words, at }: RecordPlace, atMs: number): boolean {
  if (words[at + LIFE]! < 5 * KNOWN_AFTER) return false
  const hour = hourOf(atMs)
  const near = (1 << hour) | (1 << ((hour + 1) % 24)) | (1 << ((hour + 23) % 24))
  return (words[at + HOURS]! & near) === 0
}

/** The number of the last route, 0 if there is none. */
export function lastRouteOf({ bytes, at }: RecordPlace): number {
  return bytes[(at + STATE) * 4]!
}

/** Requests of the present window alone. */
export function presentRequestsOf({ floats, at }: RecordPlace): number {
  return floats[at + PRESENT + REQUESTS]!
}

/** Counts a learnt row. @returns false if the key has given all that it may in this window. */
export function claimLearning({ bytes, at }: RecordPlace, most: number): boolean {
  const position = (at + STATE) * 4 + 1
  if (bytes[position]! >= most) return false
  bytes[position]! += 1
  return true
}

/** The number of distinct addresses that most likely set these of 32 bits (linear counting). */
function countAddresses(bits: number): number {
  let rest = bits
  let set = 0
  while (rest !== 0) {
    rest &= rest - 1
    set++
  }
  return set === 32 ? 32 * Math.log(64) : -32 * Math.log(1 - set / 32)
}

function hourOf(atMs: number): number {
  return Math.floor(atMs / HOUR_MS) % 24
}

/** 16 bits of an FNV-1a hash. */
function shortHash(text: string): number {
  let hash = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  return (hash ^ (hash >>> 16)) & MAX_HALF
}
