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
import { syncFolder } from '../wal/spool.ts'
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

interface StateFile {
  readonly origin: string
  readonly size: number
  readonly root: string
  readonly edge: readonly string[]
  readonly minIndex: number
  readonly note: string
  readonly writers: Readonly<Record<string, number>>
}

interface Waiting {
  readonly records: readonly InboxRecord[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

const PRIVATE_FOLDER = 0o700

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
    const full = await this.#files.read(tilePath(level, index, TILE_WIDTH))
    if (full !== undefined) return full
    const size = (await this.state())?.size ?? 0
    const width = Math.floor(size / TILE_WIDTH ** level) - index * TILE_WIDTH
    return width > 0 && width < TILE_WIDTH
      ? this.#files.read(tilePath(level, index, width))
      : undefined
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
    const lines = text.split('\n').filter((line) => line !== '')
    return lines
      .map((line) => JSON.parse(line) as StoredCheckpoint)
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
    for (let index = state.minIndex; index < end; index += TILE_WIDTH) {
      await rm(join(this.#folder, tilePath('entries', index / TILE_WIDTH, TILE_WIDTH)), {
        force: true,
      })
    }
    return end - state.minIndex
  }

  async surplus(size: number): Promise<number> {
    // A partial bundle beyond the state is what a crash leaves; only a full one could hide entries.
    const next = Math.floor(size / TILE_WIDTH) + 1
    const bundle = await this.#files.read(tilePath('entries', next, TILE_WIDTH))
    return bundle === undefined ? 0 : (decodeBundle(bundle)?.length ?? 1)
  }

  async close(): Promise<void> {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the store is closed'))
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
    const file: StateFile = {
      origin: next.origin,
      size: next.size,
      root: next.root.toString('base64'),
      edge: next.edge.map((tile) => tile.toString('base64')),
      minIndex: next.minIndex,
      note: next.note,
      writers: Object.fromEntries(writers),
    }
    await this.#files.replace('state.json', JSON.stringify(file))
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
    await this.#files.append('checkpoints.ndjson', `${JSON.stringify({ size, note })}\n`)
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
    const bytes =
      (await this.#files.read(tilePath('entries', index, TILE_WIDTH))) ??
      (await this.#files.read(tilePath('entries', index, width)))
    if (bytes === undefined) return []
    const leaves = decodeBundle(bytes)
    if (leaves === undefined) {
      throw new PARAPET_AUDIT_LOG_CORRUPT(`the entry bundle ${index} cannot be read`)
    }
    return leaves
  }

  async #readState(): Promise<LogState | null> {
    const text = (await this.#files.read('state.json'))?.toString()
    if (text === undefined) return null
    const file = JSON.parse(text) as StateFile
    this.#writers = new Map(Object.entries(file.writers))
    return {
      origin: file.origin,
      size: file.size,
      root: Buffer.from(file.root, 'base64'),
      edge: file.edge.map((tile) => Buffer.from(tile, 'base64')),
      minIndex: file.minIndex,
      note: file.note,
    }
  }
}
