/**
 * The log in a directory. A step happens at the moment `state.json` is replaced. The file is long because it
 * implements the whole port of a log; tiles, checkpoints and subjects are in files of their own.
 */
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import {
  emptyState,
  type Cursor,
  type InboxRecord,
  type Integration,
  type LogState,
  type LogStore,
  type PlacedEntry,
  type PlanIntegration,
  type StoredCheckpoint,
  type StoredValue,
  type SubjectState,
} from '../log/log-store.ts'
import { TILE_WIDTH } from '../log/tiles.ts'
import { matchesFilter, type ResolvedFilter } from '../record/filter.ts'
import { parseLeaf } from '../record/leaf.ts'
import { commitmentsIn } from '../record/personal-data.ts'
import { projectRecord } from '../record/projection.ts'
import { requireOrigin } from '../trust/origin.ts'
import type { WriterKey } from '../trust/writer-key.ts'
import { Files } from '../wal/files.ts'
import { ownFolder } from '../wal/own-folder.ts'
import { DirectoryCheckpoints } from './checkpoints.ts'
import { formatState, parseState, requireMac } from './state.ts'
import { DirectorySubjects } from './subjects.ts'
import { DirectoryTiles } from './tiles.ts'

interface Waiting {
  readonly records: readonly InboxRecord[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const COSIGNED = 'cosigned'
const SECRET_CHECK = 'secret-check'
const CLOSED = 'the directory store is closed'

/** What a store needs that is not only read. */
export interface DirectoryWriting {
  readonly origin: string
  readonly writerKey: WriterKey
  /** Whether the stored state may be by the writers of a key that was lost. */
  readonly acceptsLostKey: boolean
}

/** A {@link LogStore} in a folder that one process writes. */
export class DirectoryStore implements LogStore {
  readonly kind = 'directory'
  readonly #folder: string
  readonly #files: Files
  readonly #tiles: DirectoryTiles
  readonly #checkpoints: DirectoryCheckpoints
  readonly #subjects: DirectorySubjects
  readonly #waiting: Waiting[] = []
  readonly #cursors = new Map<string, Cursor>()
  readonly #writing: DirectoryWriting | undefined
  #writers = new Map<string, number>()
  #state: LogState | undefined
  #unlock: (() => Promise<void>) | undefined
  #closed = false

  /** @param writing without it, the store neither locks nor writes: for a verifier. */
  constructor(folder: string, writing?: DirectoryWriting) {
    this.#folder = folder
    this.#writing = writing
    this.#files = new Files(folder)
    this.#tiles = new DirectoryTiles(folder, this.#files)
    this.#checkpoints = new DirectoryCheckpoints(folder, this.#files)
    this.#subjects = new DirectorySubjects(folder)
  }

  async open(): Promise<void> {
    if (this.#writing === undefined) {
      this.#state = (await this.#readState()) ?? undefined
      return
    }
    this.#unlock = await ownFolder(this.#folder)
    try {
      const stored = await this.#readState()
      this.#state = stored ?? undefined
      if (stored !== null) await this.#checkpoints.add(stored)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  append(records: readonly InboxRecord[]): Promise<void> {
    if (this.#closed) return Promise.reject(new Error(CLOSED))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ records, resolve, reject })
    })
  }

  async sequence(plan: PlanIntegration, max: number): Promise<number> {
    const taken: Waiting[] = []
    let count = 0
    while (this.#waiting.length > 0 && count < max) {
      taken.push(this.#waiting.shift()!)
      count += taken.at(-1)!.records.length
    }
    if (count === 0) return 0
    try {
      const inbox = taken.flatMap(({ records }) => records)
      const current = this.#state ?? emptyState(this.#writing?.origin ?? '')
      await this.#requireFiles(current)
      const step = await plan(current, inbox, this.#writers)
      if (step !== null) await this.#write(current, step)
      for (const { resolve } of taken) resolve()
      return count
    } catch (error) {
      for (const { reject } of taken) reject(error)
      throw error
    }
  }

  async state(): Promise<LogState | null> {
    return this.#writing === undefined ? this.#readState() : (this.#state ?? null)
  }

  async tile(level: number, index: number): Promise<Buffer | undefined> {
    return this.#tiles.tile(level, index, await this.#size())
  }

  async entries(start: number, end: number): Promise<PlacedEntry[]> {
    return this.#tiles.entries(start, end, await this.#size())
  }

  checkpoints(): AsyncIterable<StoredCheckpoint> {
    return this.#checkpoints.list()
  }

  async cosigned(): Promise<string | undefined> {
    return (await this.#files.read(COSIGNED))?.toString()
  }

  keepCosigned(note: string): Promise<void> {
    return this.#files.replace(COSIGNED, note)
  }

  /** Nothing waits: the records come from this process. */
  async forgetWaiting(): Promise<void> {}

  async oldestWaiting(): Promise<number | null> {
    const oldest = this.#waiting[0]?.records[0]
    return oldest === undefined ? null : (parseLeaf(oldest.leaf)?.time ?? null)
  }

  async search(filter: ResolvedFilter, before: number, limit: number): Promise<PlacedEntry[]> {
    const found: PlacedEntry[] = []
    const end = Math.min(before, await this.#size())
    for await (const entries of this.#bundlesBefore(end)) {
      for (const entry of entries.toReversed()) {
        const record = parseLeaf(entry.leaf)
        if (record !== undefined && matchesFilter(filter, projectRecord(record))) found.push(entry)
      }
      if (found.length >= limit) break
    }
    return found.slice(0, limit)
  }

  async find(id: string): Promise<PlacedEntry | undefined> {
    for await (const entries of this.#bundlesBefore(await this.#size())) {
      const found = entries.find(({ leaf }) => leaf.includes(id) && parseLeaf(leaf)?.id === id)
      if (found !== undefined) return found
    }
    return undefined
  }

  async valuesOf(record: string): Promise<StoredValue[]> {
    const entry = await this.find(record)
    if (entry === undefined) return []
    const subjects = commitmentsIn(parseLeaf(entry.leaf)).map(({ subject }) => subject)
    return this.valuesOfMany([record], subjects)
  }

  valuesOfMany(records: readonly string[], subjects: readonly string[]): Promise<StoredValue[]> {
    return this.#subjects.valuesOf(records, subjects)
  }

  blob(sha256: string): Promise<string | undefined> {
    return this.#subjects.blob(sha256)
  }

  eraseSubject(subject: string, time: number): Promise<{ keys: number; values: number }> {
    return this.#subjects.erase(subject, time)
  }

  subjects(after: string, limit: number): Promise<SubjectState[]> {
    return this.#subjects.list(after, limit)
  }

  subject(pseudonym: string): Promise<SubjectState> {
    return this.#subjects.state(pseudonym)
  }

  async secretCheck(): Promise<string | undefined> {
    return (await this.#files.read(SECRET_CHECK))?.toString()
  }

  keepSecretCheck(text: string): Promise<void> {
    return this.#files.replace(SECRET_CHECK, text)
  }

  async claimCursor(name: string): Promise<Cursor> {
    const known = this.#cursors.get(name) ?? (await this.#readCursor(name))
    this.#cursors.set(name, known)
    return known
  }

  async moveCursor(name: string, _holder: string, position: number): Promise<boolean> {
    this.#cursors.set(name, { position, isGenuine: true })
    const mac = this.#writing?.writerKey.macOf('cursor', `${name}\n${position}`) ?? ''
    await this.#files.replace(`cursors/${name}`, `${position} ${mac}`)
    return true
  }

  async prune(before: number): Promise<number> {
    const state = this.#state
    const end = Math.floor(before / TILE_WIDTH) * TILE_WIDTH
    if (state === undefined || end <= state.minIndex) return 0
    await this.#commit({ ...state, minIndex: end }, this.#writers)
    await this.#tiles.removeBundles(state.minIndex, end)
    return end - state.minIndex
  }

  /** Counts in the last bundle only: a crash leaves other files beyond the state, which are never read. */
  async surplus(size: number): Promise<number> {
    const width = size % TILE_WIDTH
    if (width === 0) return 0
    const bundle = await this.#tiles.bundle(Math.floor(size / TILE_WIDTH), size)
    return Math.max(0, bundle.length - width)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(CLOSED))
    await this.#unlock?.()
    this.#unlock = undefined
  }

  /** Yields bundles from `end` backwards, until the first one that was pruned. */
  async *#bundlesBefore(end: number): AsyncGenerator<PlacedEntry[]> {
    while (end > 0) {
      const start = Math.floor((end - 1) / TILE_WIDTH) * TILE_WIDTH
      const entries = await this.entries(start, end)
      if (entries.length === 0) return
      yield entries
      end = start
    }
  }

  async #size(): Promise<number> {
    return (await this.state())?.size ?? 0
  }

  /** A step on files that somebody deleted would hide the damage: the next ones look like a whole log. */
  async #requireFiles(state: LogState): Promise<void> {
    if (state.size === 0) return
    const missing = !(await this.#files.exists('state.json'))
      ? 'state.json'
      : await this.#tiles.missingAtEnd(state)
    if (missing === undefined) return
    throw new PARAPET_AUDIT_LOG_CORRUPT(`the file ${missing} of the log is missing`)
  }

  async #write(current: LogState, step: Integration): Promise<void> {
    for (const attachments of step.attachments) await this.#subjects.add(attachments)
    await this.#tiles.write(current, step)
    await this.#commit(step.next, withLatest(this.#writers, step.writers))
    await this.#checkpoints.add(step.next)
    await this.#tiles.removePartials(current.size, step.next.size)
  }

  async #commit(next: LogState, writers: Map<string, number>): Promise<void> {
    await this.#files.replace('state.json', formatState(next, writers, this.#writing!.writerKey))
    this.#state = next
    this.#writers = writers
  }

  async #readCursor(name: string): Promise<Cursor> {
    const text = (await this.#files.read(`cursors/${name}`))?.toString()
    if (text === undefined) return { position: 0, isGenuine: true }
    const [position = '', mac = ''] = text.split(' ')
    const isGenuine = this.#writing?.writerKey.isMac('cursor', `${name}\n${position}`, mac) === true
    return { position: Number(position), isGenuine }
  }

  async #readState(): Promise<LogState | null> {
    const text = (await this.#files.read('state.json'))?.toString()
    if (text === undefined) return null
    const { state, writers } = parseState(text)
    if (this.#writing !== undefined) {
      const { origin, writerKey, acceptsLostKey } = this.#writing
      // The origin first: it is part of the MAC, and a changed one is no damage.
      requireOrigin(state, origin, 'directory')
      if (!acceptsLostKey) requireMac(text, writerKey)
    }
    this.#writers = writers
    return state
  }
}

/** The writers of the last step come last, so that the oldest can be forgotten first. */
function withLatest(
  before: ReadonlyMap<string, number>,
  step: ReadonlyMap<string, number>,
): Map<string, number> {
  const kept = new Map(before)
  for (const [writer, number] of step) {
    if (before.get(writer) === number) continue
    kept.delete(writer)
    kept.set(writer, number)
  }
  return kept
}
