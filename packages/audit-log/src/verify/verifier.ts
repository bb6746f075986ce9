/**
 * Verifies a whole log: signatures, history, every entry, its columns, its writers, erasures and pruning.
 *
 * One walk over the entries feeds every check, so its steps share their state and stand together.
 */
import { createHash } from 'node:crypto'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { CompactRange } from '../log/compact-range.ts'
import { HASH_BYTES, leafHashBinary, type BinaryHash } from '../log/merkle.ts'
import type { NoteKey } from '../log/note.ts'
import { TILE_HEIGHT, TILE_WIDTH } from '../log/tiles.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import { isSound } from '../record/sound.ts'
import type { LogState, LogStore, StoredEntry } from '../store/log-store.ts'
import { editedColumns } from '../store/projection.ts'
import { CheckpointTrail } from './checkpoint-trail.ts'
import { RecordLedger } from './record-ledger.ts'
import { Findings, type VerifyReport } from './report.ts'

/** What {@link verifyLog} takes. */
export interface VerifySettings {
  readonly store: LogStore
  /** The keys whose signature is trusted. */
  readonly keys: readonly NoteKey[]
  /** A checkpoint that was kept where the log's keeper cannot reach. */
  readonly pinned?: string
  /** Milliseconds of a steady clock. */
  readonly now: () => number
  readonly onProgress?: (done: number, size: number) => void
}

const BATCH = 16 * TILE_WIDTH
const NO_HASH: BinaryHash = '\u0000'.repeat(HASH_BYTES)

/** See the top of the file. Reads the store, and writes nothing. */
export async function verifyLog(settings: VerifySettings): Promise<VerifyReport> {
  const started = settings.now()
  const findings = new Findings()
  const state = await settings.store.state()
  const walk = new Walk(settings, findings, state)
  await walk.run()
  return { ...walk.report(), elapsedMs: settings.now() - started }
}

interface Mismatch {
  readonly index: number
  readonly id: string | undefined
  readonly leaf: BinaryHash
  readonly tile: BinaryHash
}

class Walk {
  readonly #settings: VerifySettings
  readonly #findings: Findings
  readonly #state: LogState | null
  readonly #trail: CheckpointTrail
  readonly #ledger: RecordLedger
  /** Of the entries as they are stored. */
  #tree = new CompactRange()
  /** The tree at the last checkpoint that fitted. */
  #good = new CompactRange()
  #mismatches: Mismatch[] = []
  #moved: Mismatch[] = []
  readonly #tiles = new Map<string, Buffer | undefined>()
  /** The tile of the entries that are walked now. */
  #current: Buffer | undefined
  #blobs: { readonly index: number; readonly record: AuditRecord }[] = []
  #entries = 0
  #columns = 0

  constructor(settings: VerifySettings, findings: Findings, state: LogState | null) {
    this.#settings = settings
    this.#findings = findings
    this.#state = state
    this.#trail = new CheckpointTrail(settings.store, settings.keys, findings)
    this.#ledger = new RecordLedger(findings)
  }

  async run(): Promise<void> {
    const { store, pinned } = this.#settings
    const state = this.#state
    if (state === null) {
      this.#findings.add({ kind: 'gap', detail: 'there is no log' })
      if (pinned !== undefined) await this.#trail.open(null, pinned)
      return
    }
    await this.#trail.open(state, pinned)
    this.#ledger.beginAt(state.minIndex)
    let goesOn = await this.#walkPruned(state)
    for (let start = state.minIndex; goesOn && start < state.size; start += BATCH) {
      goesOn = await this.#walkEntries(start, Math.min(state.size, start + BATCH))
      this.#settings.onProgress?.(this.#tree.size, state.size)
    }
    this.#nameMoved()
    const surplus = await this.#countSurplus(state.size)
    if (surplus > 0) {
      const detail = `${surplus} entries stand beyond the signed size`
      this.#findings.add({ kind: 'inserted', index: state.size, detail })
    }
    await this.#ledger.finish(store, state)
  }

  /** A log that is alive may grow between two questions. */
  async #countSurplus(known: number): Promise<number> {
    const { store } = this.#settings
    for (let size = known; ;) {
      const surplus = await store.surplus(size)
      if (surplus === 0) return 0
      const now = (await store.state())?.size ?? 0
      if (now === size) return surplus
      size = now
    }
  }

  report(): Omit<VerifyReport, 'elapsedMs'> {
    return {
      origin: this.#state?.origin ?? '',
      size: this.#state?.size ?? 0,
      minIndex: this.#state?.minIndex ?? 0,
      entries: this.#entries,
      columns: this.#columns,
      checkpoints: this.#trail.checked,
      pinned: this.#settings.pinned !== undefined,
      ...this.#ledger.summary(),
      findings: this.#findings.list,
      counts: this.#findings.counts,
      exitCode: this.#findings.exitCode(),
    }
  }

  /** Of what was pruned the hashes remain, and must lead to the same roots. */
  async #walkPruned({ minIndex }: LogState): Promise<boolean> {
    for (let index = 0; index < minIndex; index++) {
      if (index % TILE_WIDTH === 0) await this.#loadTile(index / TILE_WIDTH)
      const hash = this.#tileHash(index)
      if (hash === undefined) {
        this.#findings.add({ kind: 'tile', index, detail: 'the hash of a pruned entry is missing' })
        // How many there are is the word of whoever took them.
        if (this.#current === undefined) return false
      }
      this.#tree.append(hash ?? NO_HASH)
      if (this.#trail.isDue(this.#tree.size)) await this.#compare()
    }
    return true
  }

  /** The entries of a range; a bundle that cannot be read is told, and holds none. */
  async #read(start: number, end: number): Promise<StoredEntry[]> {
    try {
      return await this.#settings.store.entries(start, end)
    } catch (error) {
      if (!(error instanceof PARAPET_AUDIT_LOG_CORRUPT)) throw error
      const next = (Math.floor(start / TILE_WIDTH) + 1) * TILE_WIDTH
      if (next < end) return [...(await this.#read(start, next)), ...(await this.#read(next, end))]
      this.#findings.add({ kind: 'malformed', index: start, detail: error.message })
      return []
    }
  }

  /** @returns false where nothing at all is stored: how much there should be is the state's word alone. */
  async #walkEntries(start: number, end: number): Promise<boolean> {
    const stored = await this.#read(start, end)
    await this.#loadTile(Math.floor(start / TILE_WIDTH))
    if (stored.length === 0 && this.#current === undefined) {
      this.#findings.add({
        kind: 'missing',
        index: start,
        detail: 'nothing is stored from here on',
      })
      return false
    }
    let at = 0
    for (let index = start; index < end; index++) {
      if (index === start || index % TILE_WIDTH === 0) {
        await this.#loadTile(Math.floor(index / TILE_WIDTH))
      }
      const entry = stored[at]?.index === index ? stored[at++] : undefined
      if (entry === undefined) this.#miss(index)
      else {
        while (stored[at]?.index === index) {
          at++
          this.#findings.add({ kind: 'inserted', index, detail: 'two entries have this place' })
        }
        this.#check(index, entry.leaf, entry.columns)
      }
      // Only every so often is there anything to wait for.
      if (this.#blobs.length > 0) await this.#checkBlobs()
      if (this.#trail.isDue(this.#tree.size)) await this.#compare()
    }
    return true
  }

  #miss(index: number): void {
    this.#findings.add({ kind: 'missing', index, detail: 'the entry is not stored' })
    this.#ledger.skip()
    this.#tree.append(this.#tileHash(index) ?? NO_HASH, this.#onSubtree)
  }

  #check(
    index: number,
    leaf: string,
    columns: Readonly<Record<string, unknown>> | undefined,
  ): void {
    this.#entries++
    const hash = leafHashBinary(leaf)
    const tile = this.#tileHash(index)
    const record = parseLeaf(leaf)
    if (tile === undefined) {
      this.#findings.add({ kind: 'tile', index, detail: 'the tile of this entry is missing' })
    } else if (hash !== tile) {
      this.#mismatches.push({ index, id: record?.id, leaf: hash, tile })
    }
    if (record === undefined || !this.#examine(index, record, leaf, columns)) {
      this.#findings.add({ kind: 'malformed', index, detail: 'the entry is no record' })
    }
    this.#tree.append(hash, this.#onSubtree)
  }

  /** @returns false for what has the outside of a record only, which would cost every record a look. */
  #examine(
    index: number,
    record: AuditRecord,
    leaf: string,
    columns: Readonly<Record<string, unknown>> | undefined,
  ): boolean {
    try {
      if (columns !== undefined) this.#compareColumns(index, record, columns)
      this.#ledger.add(index, record, leaf)
      if (record.blob !== undefined) this.#blobs.push({ index, record })
      return true
    } catch (error) {
      if (isSound(record)) throw error
      return false
    }
  }

  #compareColumns(
    index: number,
    record: AuditRecord,
    columns: Readonly<Record<string, unknown>>,
  ): void {
    this.#columns++
    for (const name of editedColumns(record, columns)) {
      const detail = `the column "${name}" was edited; the record says otherwise`
      this.#findings.add({ kind: 'column', index, id: record.id, detail })
    }
  }

  async #checkBlobs(): Promise<void> {
    for (const { index, record } of this.#blobs.splice(0)) {
      const { id } = record
      const sha256 = record.blob?.sha256 ?? ''
      const blob = await this.#settings.store.blob(sha256)
      const actual = blob === undefined ? '' : createHash('sha256').update(blob).digest('hex')
      if (actual === sha256) continue
      const detail = `its large members are ${blob === undefined ? 'missing' : 'edited'}`
      this.#findings.add({ kind: 'blob', index, id, detail })
    }
  }

  /** Every 256 hashes of one level are one hash of the next; these stand in tiles too. */
  readonly #onSubtree = (height: number, index: number, root: BinaryHash): void => {
    if (height % TILE_HEIGHT === 0) this.#above.push({ level: height / TILE_HEIGHT, index, root })
  }
  #above: { level: number; index: number; root: BinaryHash }[] = []

  /** At a checkpoint: the entries as stored must lead to its root; if not, it is told what must be wrong. */
  async #compare(): Promise<void> {
    const size = this.#tree.size
    let fits = this.#trail.compare(size, this.#tree.root())
    const mismatches = this.#mismatches
    if (fits) {
      for (const { index } of mismatches) {
        this.#findings.add({
          kind: 'tile',
          index,
          detail: 'the tile was edited; the entry is sound',
        })
      }
    } else {
      const byTiles = this.#good.copy()
      for (let index = byTiles.size; index < size; index++) {
        if (index === byTiles.size || index % TILE_WIDTH === 0) {
          await this.#loadTile(Math.floor(index / TILE_WIDTH))
        }
        byTiles.append(this.#tileHash(index) ?? NO_HASH)
      }
      fits = this.#trail.compare(size, byTiles.root())
      this.#moved.push(...mismatches)
      if (!fits) this.#trail.refuse(this.#good.size, size)
      this.#tree = byTiles
    }
    if (fits) await this.#compareAbove()
    this.#above = []
    this.#mismatches = []
    this.#good = this.#tree.copy()
  }

  async #compareAbove(): Promise<void> {
    for (const { level, index, root } of this.#above) {
      const tile = await this.#tile(level, Math.floor(index / TILE_WIDTH))
      const at = (index % TILE_WIDTH) * HASH_BYTES
      if (tile?.toString('latin1', at, at + HASH_BYTES) === root) continue
      const first = index * TILE_WIDTH ** level
      const detail = `the tile of level ${level} above this entry was edited or is missing`
      this.#findings.add({ kind: 'tile', index: first, detail })
    }
  }

  /** An entry that stands where another belongs was moved; every other one was edited. */
  #nameMoved(): void {
    const places = new Map(this.#moved.map(({ leaf, index }) => [leaf, index]))
    for (const { index, id, tile } of this.#moved) {
      const from = places.get(tile)
      const named = id === undefined ? {} : { id }
      if (from === undefined) {
        const detail = 'the record was edited; its hash is not the one that was signed'
        this.#findings.add({ kind: 'edited', index, ...named, detail })
      } else {
        const detail = `the record was moved; the one that belongs here stands at ${from}`
        this.#findings.add({ kind: 'reordered', index, ...named, detail })
      }
    }
  }

  /** From the tile that was loaded last. */
  #tileHash(index: number): BinaryHash | undefined {
    const at = (index % TILE_WIDTH) * HASH_BYTES
    const tile = this.#current
    return tile === undefined || tile.length < at + HASH_BYTES
      ? undefined
      : tile.toString('latin1', at, at + HASH_BYTES)
  }

  async #loadTile(index: number): Promise<void> {
    this.#current = await this.#tile(0, index)
  }

  #tile(level: number, index: number): Promise<Buffer | undefined> | Buffer | undefined {
    const key = `${level}/${index}`
    if (this.#tiles.has(key)) return this.#tiles.get(key)
    return this.#settings.store.tile(level, index).then((tile) => {
      // Tiles are asked for in order; a few are enough.
      if (this.#tiles.size > 64) this.#tiles.clear()
      this.#tiles.set(key, tile)
      return tile
    })
  }
}
