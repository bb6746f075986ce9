/**
 * The log in a directory: tiles and bundles in the layout of C2SP tlog-tiles, and one state file
 * whose renaming is the moment a step of the log happens.
 *
 * The file is as long as the port is wide: one short method for each promise of {@link LogStore}.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { emptyState } from '../log/integration.ts'
import { decodeBundle, encodeBundle, TILE_WIDTH, tilePath } from '../log/tiles.ts'
import { matchesFilter, type RecordFilter } from '../read/filter.ts'
import { parseLeaf } from '../record/leaf.ts'
import type { SealedValue, SubjectKey } from '../record/personal.ts'
import { lockFolder } from '../wal/lock.ts'
import { syncFolder } from '../wal/sync.ts'
import { BesideFiles } from './directory-beside.ts'
import { Files } from './files.ts'
import type {
  InboxRecord,
  Integration,
  LogState,
  LogStore,
  PlacedEntry,
  PlanIntegration,
  StoredCheckpoint,
  SubjectState,
} from './log-store.ts'
import { projectRecord } from './projection.ts'
import { formatState, parseCheckpointLine, parseState } from './state-file.ts'

interface Waiting {
  readonly records: readonly InboxRecord[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const PRIVATE_FOLDER = 0o700
const CLOSED = 'the store is closed'

/** A {@link LogStore} in a folder that one process writes. */
export class DirectoryStore implements LogStore {
  readonly kind = 'directory'
  readonly #folder: string
  readonly #origin: string
  readonly #files: Files
  readonly #beside: BesideFiles
  readonly #waiting: Waiting[] = []
  readonly #cursors = new Map<string, number>()
  readonly #readOnly: boolean
  #writers = new Map<string, number>()
  #state: LogState | undefined
  #lastCheckpoint: number | undefined
  #unlock: (() => Promise<void>) | undefined
  #closed = false

  /** @param readOnly for a verifier: nothing is locked or written. */
  constructor(folder: string, origin: string, readOnly = false) {
    this.#folder = folder
    this.#origin = origin
    this.#readOnly = readOnly
    this.#files = new Files(folder)
    this.#beside = new BesideFiles(folder)
  }

  async open(): Promise<void> {
    if (!this.#readOnly) {
      await mkdir(this.#folder, { recursive: true, mode: PRIVATE_FOLDER })
      this.#unlock = await lockFolder(this.#folder)
    }
    const stored = await this.#readState()
    if (stored !== null && this.#origin !== '' && stored.origin !== this.#origin) {
      await this.close()
      throw new PARAPET_AUDIT_LOG_CORRUPT(`${this.#folder} holds the log "${stored.origin}"`)
    }
    this.#state = stored ?? undefined
    if (!this.#readOnly && stored !== null) await this.#rememberCheckpoint(stored)
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
    const size = (await this.state())?.size ?? 0
    const width = Math.floor(size / TILE_WIDTH ** level) - index * TILE_WIDTH
    return width > 0 ? this.#readWidest((of) => tilePath(level, index, of), width) : undefined
  }

  async entries(start: number, end: number): Promise<PlacedEntry[]> {
    const size = (await this.state())?.size ?? 0
    const found: PlacedEntry[] = []
    const last = Math.min(end, size)
    for (let bundle = Math.floor(start / TILE_WIDTH); bundle * TILE_WIDTH < last; bundle++) {
      const leaves = await this.#bundle(bundle, size)
      leaves.forEach((leaf, at) => {
        const index = bundle * TILE_WIDTH + at
        if (index >= start && index < last) found.push({ index, leaf })
      })
    }
    return found
  }

  async checkpoints(after: number, limit: number): Promise<StoredCheckpoint[]> {
    const text = (await this.#files.read('checkpoints.ndjson'))?.toString() ?? ''
    return text
      .split('\n')
      .flatMap(parseCheckpointLine)
      .filter(({ size }) => size > after)
      .toSorted((a, b) => a.size - b.size)
      .slice(0, limit)
  }

  async search(filter: RecordFilter, before: number, limit: number): Promise<PlacedEntry[]> {
    const found: PlacedEntry[] = []
    let end = Math.min(before, (await this.state())?.size ?? 0)
    while (end > 0 && found.length < limit) {
      const start = Math.floor((end - 1) / TILE_WIDTH) * TILE_WIDTH
      const entries = await this.entries(start, end)
      if (entries.length === 0) break
      for (const entry of entries.toReversed()) {
        const record = parseLeaf(entry.leaf)
        if (record !== undefined && matchesFilter(filter, projectRecord(record))) found.push(entry)
      }
      end = start
    }
    return found.slice(0, limit)
  }

  async find(id: string): Promise<PlacedEntry | undefined> {
    for (let end = (await this.state())?.size ?? 0; end > 0;) {
      const start = Math.floor((end - 1) / TILE_WIDTH) * TILE_WIDTH
      const entries = await this.entries(start, end)
      const found = entries.find(({ leaf }) => leaf.includes(id) && parseLeaf(leaf)?.id === id)
      if (found !== undefined || entries.length === 0) return found
      end = start
    }
    return undefined
  }

  valuesOf(record: string): Promise<{ value: SealedValue; key: SubjectKey }[]> {
    return this.find(record).then((entry) =>
      entry === undefined ? [] : this.#beside.valuesOf(record, entry.leaf),
    )
  }

  blob(sha256: string): Promise<string | undefined> {
    return this.#beside.blob(sha256)
  }

  eraseSubject(subject: string, time: number): Promise<{ keys: number; values: number }> {
    return this.#beside.erase(subject, time)
  }

  subjects(after: string, limit: number): Promise<SubjectState[]> {
    return this.#beside.subjects(after, limit)
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
    // From the start: a crash may have left what an earlier pruning was to remove.
    for (let index = 0; index < end; index += TILE_WIDTH) {
      await rm(join(this.#folder, tilePath('entries', index / TILE_WIDTH, TILE_WIDTH)), {
        force: true,
      })
    }
    return end - state.minIndex
  }

  async surplus(size: number): Promise<number> {
    // Files beyond the state are what a crash leaves; nobody reads them. A bundle of the state is whole.
    const width = size % TILE_WIDTH
    const bundle = width > 0 && (await this.#bundle(Math.floor(size / TILE_WIDTH), size))
    return bundle ? Math.max(0, bundle.length - width) : 0
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(CLOSED))
    await this.#unlock?.()
    this.#unlock = undefined
  }

  /** Everything but the state is written under names that no committed step uses. */
  async #write(current: LogState, step: Integration): Promise<void> {
    const folders = new Set<string>()
    for (const beside of step.beside) await this.#beside.add(beside)
    await this.#writeBundles(current, step, folders)
    for (const { level, index, hashes } of step.tiles) {
      await this.#files.put(tilePath(level, index, hashes.length / 32), hashes, folders)
    }
    for (const folder of folders) await syncFolder(folder)
    const writers = new Map([...this.#writers, ...step.writers])
    await this.#commit(step.next, writers)
    await this.#rememberCheckpoint(step.next)
    await this.#removePartials(current.size, step.next.size)
  }

  async #writeBundles(current: LogState, step: Integration, folders: Set<string>): Promise<void> {
    const first = Math.floor(current.size / TILE_WIDTH)
    const start = first * TILE_WIDTH
    const kept = current.size > start ? await this.entries(start, current.size) : []
    const leaves = [...kept, ...step.entries].map(({ leaf }) => leaf)
    for (let at = 0; at < leaves.length; at += TILE_WIDTH) {
      const bundle = leaves.slice(at, at + TILE_WIDTH)
      const path = tilePath('entries', first + at / TILE_WIDTH, bundle.length)
      await this.#files.put(path, encodeBundle(bundle), folders)
    }
  }

  async #commit(next: LogState, writers: Map<string, number>): Promise<void> {
    await this.#files.replace('state.json', formatState(next, writers))
    this.#state = next
    this.#writers = writers
  }

  /** The public face of the state: the latest checkpoint, and all of them. */
  async #rememberCheckpoint({ size, note }: LogState): Promise<void> {
    if (size === 0) return
    await this.#files.replace('checkpoint', note)
    this.#lastCheckpoint ??= (await this.checkpoints(-1, Number.MAX_SAFE_INTEGER)).at(-1)?.size ?? 0
    if (this.#lastCheckpoint >= size) return
    this.#lastCheckpoint = size
    // A line that a crash or a full disk cut ends here, so that this one stands on its own.
    await this.#files.append('checkpoints.ndjson', `\n${JSON.stringify({ size, note })}\n`)
  }

  /** Once a tile is full nobody needs what it was on the way. */
  async #removePartials(from: number, to: number): Promise<void> {
    for (let level = 0; TILE_WIDTH ** (level + 1) <= to; level++) {
      const width = TILE_WIDTH ** (level + 1)
      for (let tile = Math.floor(from / width); (tile + 1) * width <= to; tile++) {
        await this.#removePartial(tilePath(level, tile, TILE_WIDTH))
        if (level === 0) await this.#removePartial(tilePath('entries', tile, TILE_WIDTH))
      }
    }
  }

  async #removePartial(path: string): Promise<void> {
    await rm(join(this.#folder, `${path}.p`), { recursive: true, force: true })
  }

  async #bundle(index: number, size: number): Promise<string[]> {
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH)
    const bytes = await this.#readWidest((of) => tilePath('entries', index, of), width)
    if (bytes === undefined) return []
    const leaves = decodeBundle(bytes)
    if (leaves === undefined) {
      throw new PARAPET_AUDIT_LOG_CORRUPT(`the entry bundle ${index} cannot be read`)
    }
    return leaves
  }

  /**
   * The file that the committed step wrote; a full one may be what a step that a crash cut short left
   * behind, and counts only when the log has grown past this width while it was read.
   */
  async #readWidest(path: (width: number) => string, width: number): Promise<Buffer | undefined> {
    const own = width < TILE_WIDTH ? await this.#files.read(path(width)) : undefined
    return own ?? this.#files.read(path(TILE_WIDTH))
  }

  async #readState(): Promise<LogState | null> {
    const text = (await this.#files.read('state.json'))?.toString()
    if (text === undefined) return null
    const { state, writers } = parseState(text)
    this.#writers = writers
    return state
  }
}
