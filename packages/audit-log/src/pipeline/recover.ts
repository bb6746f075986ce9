/**
 * The way on after the store lost its last entries (a failover, a restored backup): what is left in the
 * spool is sent again, and a signed statement declares the rest as lost.
 */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { LogState, LogStore } from '../log/log-store.ts'
import { parseLeaf } from '../record/leaf.ts'
import { mergeRanges, type SeqRange } from '../wal/number-ranges.ts'
import { SegmentReader, type Segment } from '../wal/segments.ts'
import type { Seen } from './sequencer.ts'

const READ_BYTES = 2 * 1024 * 1024
const BATCH_RECORDS = 4096
const PRIVATE_FILE = 0o600

/** What a recovery found, as its statement says it. */
export interface Recovery {
  /** The log that this instance saw before. */
  readonly seen: Seen
  /** The log that the store has now. */
  readonly stored: Seen
  /** The numbers of records that are neither in the log nor in the spool, by writer. */
  readonly lost: Readonly<Record<string, readonly SeqRange[]>>
  /** The number of records in the spool that are sent again. */
  readonly reshipped: number
}

/** Asks the next start to continue the log as it is stored; the operator's decision. */
export async function requestRecovery(directory: string): Promise<void> {
  await writeFile(fileIn(directory), '{}', { mode: PRIVATE_FILE })
}

/** Whether the operator asked for a recovery. */
export async function isRecoveryRequested(directory: string): Promise<boolean> {
  return readFile(fileIn(directory)).then(
    () => true,
    () => false,
  )
}

/** Ends a recovery, after its statement is on disk. */
export async function endRecovery(directory: string): Promise<void> {
  await rm(fileIn(directory), { force: true })
}

function fileIn(directory: string): string {
  return join(directory, 'recover.json')
}

/**
 * Compares the spool with the stored log, and removes from the inbox what the spool sends again: the
 * numbers of a writer must arrive in order.
 *
 * @throws PARAPET_AUDIT_LOG_CORRUPT the store has no log.
 */
export async function recoverSpool(
  store: LogStore,
  state: LogState | null,
  seen: Seen,
  segments: readonly Segment[],
): Promise<Recovery> {
  if (state === null) throw new PARAPET_AUDIT_LOG_CORRUPT('the store has no log to continue')
  const spooled = await readSpool(segments)
  const next = await numbersIn(store, state, new Set(spooled.keys()))
  const lost: Record<string, SeqRange[]> = {}
  let reshipped = 0
  for (const [writer, ranges] of spooled) {
    await store.forgetWaiting(writer, ranges)
    const expected = next.get(writer) ?? 0
    const missing = holesIn(ranges, expected)
    if (missing.length > 0) lost[writer] = missing
    for (const [from, to] of ranges) reshipped += Math.max(0, to + 1 - Math.max(from, expected))
  }
  const stored = { size: state.size, root: state.root.toString('base64') }
  return { seen, stored, lost, reshipped }
}

/** The numbers from `expected` on that no range has, up to the last range. */
function holesIn(ranges: readonly SeqRange[], expected: number): SeqRange[] {
  const holes: SeqRange[] = []
  let at = expected
  for (const [from, to] of ranges) {
    if (from > at) holes.push([at, from - 1])
    at = Math.max(at, to + 1)
  }
  return holes
}

/** The numbers of each writer in the spool. */
async function readSpool(segments: readonly Segment[]): Promise<Map<string, SeqRange[]>> {
  const found = new Map<string, SeqRange[]>()
  for (const segment of segments) {
    const reader = new SegmentReader(segment)
    for (;;) {
      const records = await reader.read(READ_BYTES)
      if (records.length === 0) break
      const own = records.map(({ seq }): SeqRange => [seq, seq])
      found.set(segment.writer, mergeRanges([...(found.get(segment.writer) ?? []), ...own]))
    }
    await reader.close()
  }
  return found
}

/** The next number of each of these writers, from the end of the log backwards. */
async function numbersIn(
  store: LogStore,
  { size, minIndex }: LogState,
  writers: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const next = new Map<string, number>()
  for (let end = size; end > minIndex && next.size < writers.size; end -= BATCH_RECORDS) {
    const entries = await store.entries(Math.max(minIndex, end - BATCH_RECORDS), end)
    for (const { leaf } of entries.toReversed()) {
      const record = parseLeaf(leaf)
      if (record?.seq === undefined || !writers.has(record.writer)) continue
      if (!next.has(record.writer)) next.set(record.writer, record.seq + 1)
    }
  }
  return next
}
