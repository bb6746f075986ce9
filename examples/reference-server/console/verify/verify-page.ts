/** Checks of one page of records: what was edited, what is missing, and what is not signed. */
import { TILE_WIDTH } from './tiles.ts'
import type { Check, PlacedRecord, VerifiedLog } from './verify-log.ts'

/** A page as the server returned it. */
export interface PageOfRecords {
  readonly entries: readonly PlacedRecord[]
  /** The lowest index of the page before; absent: it is the first page. */
  readonly below?: number | undefined
  /** Whether filters decide which records are on it. */
  readonly isFiltered: boolean
  /** Whether older records follow. */
  readonly hasMore: boolean
}

/** A record is signed within seconds. One that is older was never in the log, or the checkpoint is old. */
const SIGNED_WITHIN_MS = 300_000
const MAX_NAMED = 10

/** @param records the result of `verifyRecords` */
export function checkInclusion(
  entries: PageOfRecords['entries'],
  records: ReadonlyMap<number, boolean>,
  now: number,
): Check {
  const name = 'inclusion'
  const wrong = [...records].filter(([, isIncluded]) => !isIncluded).map(([index]) => index)
  if (wrong.length > 0) {
    return { name, passed: false, text: `Edited after they were signed: ${listOf(wrong)}.` }
  }
  const unsigned = entries.filter(({ index }) => !records.has(index))
  const late = unsigned.filter((entry) => !(timeOf(entry) > now - SIGNED_WITHIN_MS))
  if (late.length > 0) {
    const indexes = late.map(({ index }) => index)
    const text = `Older than five minutes, but not in the signed tree: ${listOf(indexes)}.`
    return { name, passed: false, text }
  }
  const signed = `${records.size} of the records on this page are in the signed tree, as they are shown.`
  const rest = unsigned.length === 0 ? '' : ` ${unsigned.length} newer ones are not signed yet.`
  return { name, passed: true, text: signed + rest }
}

/** @param size how many entries the log had before the page was read */
export function checkCompleteness(
  { entries, below, isFiltered, hasMore }: PageOfRecords,
  { checkpoint }: Pick<VerifiedLog, 'checkpoint'>,
  size: number,
): Check {
  const name = 'completeness'
  const indexes = entries.map(({ index }) => index)
  if (new Set(indexes).size !== indexes.length) {
    return { name, passed: false, text: 'A record is on the page twice.' }
  }
  if (isFiltered) {
    const text = 'A search may leave out records. Gaps are found in the list without filters.'
    return { name, passed: true, text }
  }
  const missing: number[] = []
  let next = (below ?? Math.max(size, (indexes[0] ?? -1) + 1)) - 1
  for (const index of indexes) {
    for (; next > index && missing.length <= MAX_NAMED; next--) missing.push(next)
    next = index - 1
  }
  // Entries that are no longer kept are the oldest, up to the end of a bundle.
  const isBoundary = (next + 1) % TILE_WIDTH === 0
  if (hasMore ? indexes.length === 0 : !isBoundary) missing.push(next)
  if (missing.length > 0) {
    return { name, passed: false, text: `Signed, but not on this page: ${listOf(missing)}.` }
  }
  const last = indexes.at(-1)
  const text =
    last === undefined
      ? `None of ${checkpoint.size} entries is kept.`
      : `No record is missing from #${indexes[0]} to #${last}.` +
        (hasMore || last === 0 ? '' : ` Entries before #${last} are no longer kept.`)
  return { name, passed: true, text }
}

function timeOf({ record }: PlacedRecord): number {
  return Number((record as { readonly time?: unknown } | null)?.time)
}

/** #4, #9 and so on. */
function listOf(indexes: readonly number[]): string {
  const named = indexes.slice(0, MAX_NAMED).map((index) => `#${index}`)
  return named.join(', ') + (indexes.length > MAX_NAMED ? ' and more' : '')
}
