/** The log in a directory. A step happens at the moment `state.json` is replaced. */
import { mkdir } from 'node:fs/promises'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import {
  emptyState,
  type InboxRecord,
  type Integration,
  type LogState,
  type LogStore,
  type PlacedEntry,
  type PlanIntegration,
  type StoredCheckpoint,
  type SubjectState,
} from '../log/log-store.ts'
import { TILE_WIDTH } from '../log/tiles.ts'
import { matchesFilter, type RecordFilter } from '../record/filter.ts'
import { parseLeaf } from '../record/leaf.ts'
import type { SealedValue, SubjectKey } from '../record/personal-data.ts'
import { projectRecord } from '../record/projection.ts'
import { Files } from '../wal/files.ts'
import { lockFolder } from '../wal/lock.ts'
import { DirectoryCheckpoints } from './directory-checkpoints.ts'
import { formatState, parseState } from './directory-state.ts'
import { DirectorySubjects } from './directory-subjects.ts'
import { DirectoryTiles } from './directory-tiles.ts'

interface Waiting {
  readonly records: readonly InboxRecord[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const PRIVATE_FOLDER = 0o700
const CLOSED = 'the directory store is closed'

/** A {@link LogStore} in a folder that one process writes. */
export class DirectoryStore implements LogStore {
  readonly kind = 'directory'
  readonly #folder: string
  readonly #origin: string
  readonly #files: Files
  readonly #tiles: DirectoryTiles
  readonly #checkpoints: DirectoryCheckpoints
  readonly #subjects: DirectorySubjects
  readonly #waiting: Waiting[] = []
  readonly #cursors = new Map<string, number>()
  readonly #readOnly: boolean
  #writers = new Map<string, number>()
  #state: LogState | undefined
  #unlock: (() => Promise<void>) | undefined
  #closed = false

  /** @param readOnly for a verifier: neither locks nor writes. @default false */
  constructor(folder: string, origin: string, readOnly = false) {
    this.#folder = folder
    this.#origin = origin
    this.#readOnly = readOnly
    this.#files = new Files(folder)
    this.#tiles = new DirectoryTiles(folder, this.#files)
    this.#checkpoints = new DirectoryCheckpoints(this.#files)
    this.#subjects = new DirectorySubjects(folder)
  }

  async open(): Promise<void> {
    if (!this.#readOnly) {
      await mkdir(this.#folder, { recursive: true, mode: PRIVATE_FOLDER })
      this.#unlock = await lockFolder(this.#folder)
    }
    const stored = await this.#readState()
    if (stored !== null && this.#origin !== '' && stored.origin !== this.#origin) {
      await this.close()
      throw new PARAPET_AUDIT_LOG_CORRUPT(
        `the folder ${this.#folder} contains the log "${stored.origin}", not "${this.#origin}"`,
      )
    }
    this.#state = stored ?? undefined
    if (!this.#readOnly && stored !== null) await this.#checkpoints.add(stored)
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
      const current = this.#state ?? emptyState(this.#origin)
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
    return this.#readOnly ? this.#readState() : (this.#state ?? null)
  }

  async tile(level: number, index: number): Promise<Buffer | undefined> {
    return this.#tiles.tile(level, index, await this.#size())
  }

  async entries(start: number, end: number): Promise<PlacedEntry[]> {
    return this.#tiles.entries(start, end, await this.#size())
  }

  checkpoints(after: number, limit: number): Promise<StoredCheckpoint[]> {
    return this.#checkpoints.list(after, limit)
  }

  async search(filter: RecordFilter, before: number, limit: number): Promise<PlacedEntry[]> {
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

  async valuesOf(record: string): Promise<{ value: SealedValue; key: SubjectKey }[]> {
    const entry = await this.find(record)
    return entry === undefined ? [] : this.#subjects.valuesOf(record, entry.leaf)
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

  async claimCursor(name: string): Promise<number | null> {
    const text = (await this.#files.read(`cursors/${name}`))?.toString()
    const position = this.#cursors.get(name) ?? (text === undefined ? 0 : Number(text))
    this.#cursors.set(name, position)
    return position
  }

  async moveCursor(name: string, _holder: string, position: number): Promise<boolean> {
    this.#cursors.set(name, position)
    await this.#files.replace(`cursors/${name}`, String(position))
    return true
  }

  async prune(before: number): Promise<number> {
    const state = this.#state
    const end = Math.floor(before / TILE_WIDTH) * TILE_WIDTH
    if (state === undefined || end <= state.minIndex) return 0
    await this.#commit({ ...state, minIndex: end }, this.#writers)
    await this.#tiles.removeBundles(end)
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

  async #write(current: LogState, step: Integration): Promise<void> {
    for (const attachments of step.attachments) await this.#subjects.add(attachments)
    await this.#tiles.write(current, step)
    await this.#commit(step.next, new Map([...this.#writers, ...step.writers]))
    await this.#checkpoints.add(step.next)
    await this.#tiles.removePartials(current.size, step.next.size)
  }

  async #commit(next: LogState, writers: Map<string, number>): Promise<void> {
    await this.#files.replace('state.json', formatState(next, writers))
    this.#state = next
    this.#writers = writers
  }

  async #readState(): Promise<LogState | null> {
    const text = (await this.#files.read('state.json'))?.toString()
    if (text === undefined) return null
    const { state, writers } = parseState(text)
    this.#writers = writers
    return state
  }
}
