/** Collects the records of a source into sealed parts, and goes on where a killed process stopped. */
import { withDeadline, type Cipher, type Clock } from '@parapet/kit'
import { PARAPET_PRIVACY_INVALID_SOURCE, PARAPET_PRIVACY_TIMEOUT } from '../errors.ts'
import type { SourceProgress } from '../requests/request.ts'
import type { RegisteredSource, SourceRecord } from '../sources/source.ts'
import type { ArchiveParts, PartKey } from './archive-parts.ts'

/** The size of a part, before it is sealed: several copies of one are in memory. A longer record is one part. */
const PART_CHARACTERS = 256_000
const MAX_COLUMNS = 500

/** What a collection needs. */
export interface CollectPorts {
  readonly parts: ArchiveParts
  readonly cipher: Cipher
  readonly clock: Clock
  /** How long a source may take for one part. */
  readonly deadlineMs: number
}

/** One collection. */
export interface Collection {
  readonly request: string
  readonly subject: string
  readonly source: RegisteredSource
  /** Where it stands. */
  readonly progress: SourceProgress
  readonly signal: AbortSignal
  /**
   * Stores the progress after each part.
   *
   * @returns `false`: stop, another job goes on.
   */
  readonly save: (progress: SourceProgress) => Promise<boolean>
}

/** The progress of a source that was not begun. */
export function noProgress(name: string): SourceProgress {
  return { name, parts: 0, records: 0, bytes: 0, columns: [], isComplete: false }
}

/** The context in which a part is sealed. */
export function contextOfPart({ request, source, part }: PartKey): string[] {
  return ['privacy', 'archive', request, source, String(part)]
}

/** Collects the rest of a source. @throws PARAPET_PRIVACY_TIMEOUT, and what the source throws */
export async function collectSource(ports: CollectPorts, collection: Collection): Promise<void> {
  const { request, subject, source, signal, save } = collection
  const { cursorOf } = source
  // Without cursors the parts are written again, from the first one.
  let progress = cursorOf === undefined ? noProgress(source.name) : collection.progress
  const after = progress.cursor === undefined ? undefined : { after: progress.cursor }
  const iterator = iteratorOf(source.name, source.collect!(subject, { signal, ...after }))
  const columns = new Set(progress.columns)
  const late = () => new PARAPET_PRIVACY_TIMEOUT(`The source "${source.name}"`, ports.deadlineMs)
  try {
    for (;;) {
      signal.throwIfAborted()
      const read = readPart(source.name, iterator, columns)
      const { text, records, last, isLast } = await withDeadline(
        read,
        ports.deadlineMs,
        late,
        ports.clock,
      )
      if (records > 0) {
        const key = { request, source: source.name, part: progress.parts }
        await ports.parts.write(key, await ports.cipher.seal(text, contextOfPart(key)))
      }
      progress = {
        ...progress,
        parts: progress.parts + Number(records > 0),
        records: progress.records + records,
        bytes: progress.bytes + Buffer.byteLength(text),
        columns: [...columns],
        isComplete: isLast,
        ...(cursorOf !== undefined && last !== undefined && { cursor: cursorOf(last) }),
      }
      if (!(await save(progress)) || isLast) return
    }
  } finally {
    // A source that hangs is not waited for.
    void Promise.resolve(iterator.return?.()).catch(() => {})
  }
}

type RecordIterator = AsyncIterator<SourceRecord, unknown> | Iterator<SourceRecord, unknown>

function iteratorOf(
  name: string,
  records: AsyncIterable<SourceRecord> | Iterable<SourceRecord>,
): RecordIterator {
  // An application without types may return anything, for instance a promise of an array.
  const given = Object(records) as Partial<AsyncIterable<SourceRecord> & Iterable<SourceRecord>>
  const iterator = given[Symbol.asyncIterator]?.() ?? given[Symbol.iterator]?.()
  if (iterator !== undefined) return iterator
  return refuse(name, 'returns something else than an array or another iterable from "collect"')
}

function refuse(name: string, problem: string): never {
  throw new PARAPET_PRIVACY_INVALID_SOURCE(name, problem)
}

interface Part {
  readonly text: string
  readonly records: number
  readonly last: SourceRecord | undefined
  readonly isLast: boolean
}

async function readPart(
  name: string,
  iterator: RecordIterator,
  columns: Set<string>,
): Promise<Part> {
  const lines: string[] = []
  let characters = 0
  let last: SourceRecord | undefined
  while (characters < PART_CHARACTERS) {
    const step = iterator.next()
    // Most steps of a synchronous source are no promises: awaiting each would cost more than the step.
    const { done, value } = step instanceof Promise ? await step : step
    if (done === true) return { text: lines.join(''), records: lines.length, last, isLast: true }
    last = value
    if (typeof last !== 'object' || (last as unknown) === null || Array.isArray(last)) {
      refuse(name, 'collects a record that is no object')
    }
    const line = lineOf(name, last)
    lines.push(line)
    characters += line.length
    for (const column of Object.keys(last)) {
      if (columns.size < MAX_COLUMNS) columns.add(column)
    }
  }
  return partOf(lines, last, false)
}

function lineOf(name: string, record: SourceRecord): string {
  try {
    return `${JSON.stringify(record)}\n`
  } catch {
    // Its message may quote the record.
    return refuse(name, 'collects a record that is no JSON, for instance because of a BigInt')
  }
}

function partOf(lines: readonly string[], last: SourceRecord | undefined, isLast: boolean): Part {
  return { text: lines.join(''), records: lines.length, last, isLast }
}
