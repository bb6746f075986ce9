/** Verifies a whole log: signatures, history, entries, columns, writers, erasures and pruning. */
import { createHash } from 'node:crypto'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { LogState, VerifiableLog, StoredEntry } from '../log/log-store.ts'
import { leafHash, leafHashBinary } from '../log/merkle-tree.ts'
import type { NoteKey } from '../log/signed-note.ts'
import { TILE_WIDTH } from '../log/tiles.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import { editedColumns } from '../record/projection.ts'
import { isValidRecord } from '../record/validate.ts'
import { CheckpointTrail } from './checkpoint-trail.ts'
import { RecordLedger } from './record-ledger.ts'
import { Findings, type VerifyReport } from './report.ts'
import { checkState } from './state-check.ts'
import { StoredTiles } from './stored-tiles.ts'
import { TreeCheck } from './tree-check.ts'
import { ValueCheck } from './value-check.ts'
import { WitnessCheck } from './witness-check.ts'

/** What {@link verifyLog} needs. */
export interface VerifySettings {
  readonly store: VerifiableLog
  /** The public keys to trust. */
  readonly keys: readonly NoteKey[]
  /** A checkpoint that was kept outside the operator's control. */
  readonly pinned?: string
  /** The keys of the witnesses that must have cosigned the log. */
  readonly witnesses?: readonly NoteKey[]
  /** The checkpoint that a witness serves itself; `null` if it has none of this log. */
  readonly served?: string | null
  /** Whether the log has other entries than the records of this plugin; their contents are not checked. */
  readonly isForeign?: boolean
  /** The time of now, in milliseconds since the Unix epoch. */
  readonly time?: () => number
  /** The least number of days that records must have been kept before they were pruned. */
  readonly retentionDays?: number
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
  readonly onProgress?: (done: number, size: number) => void
}

const BATCH = 16 * TILE_WIDTH
const PROGRESS_ENTRIES = 65_536

/** Verifies the log in one pass over its entries; never writes. */
export async function verifyLog(settings: VerifySettings): Promise<VerifyReport> {
  const started = settings.now()
  const walk = new Walk(settings, await settings.store.state())
  await walk.run()
  return { ...walk.report(), elapsedMs: settings.now() - started }
}

class Walk {
  readonly #settings: VerifySettings
  readonly #findings = new Findings()
  readonly #state: LogState | null
  readonly #trail: CheckpointTrail
  readonly #ledger: RecordLedger
  readonly #tiles: StoredTiles
  readonly #tree: TreeCheck
  readonly #values: ValueCheck
  readonly #witness: WitnessCheck
  /** Records with large members that were not checked yet. */
  readonly #blobs: { readonly index: number; readonly record: AuditRecord }[] = []
  #entries = 0
  #columns = 0

  constructor(settings: VerifySettings, state: LogState | null) {
    const { store, keys } = settings
    this.#settings = settings
    this.#state = state
    this.#trail = new CheckpointTrail(store, keys, this.#findings)
    this.#ledger = new RecordLedger({
      findings: this.#findings,
      keys,
      retentionDays: settings.retentionDays ?? 0,
      time: settings.time ?? Date.now,
    })
    this.#values = new ValueCheck(store, this.#findings)
    this.#witness = new WitnessCheck({
      ...settings,
      findings: this.#findings,
      witnesses: settings.witnesses ?? [],
      time: settings.time ?? Date.now,
    })
    this.#tiles = new StoredTiles(store)
    this.#tree = new TreeCheck(this.#tiles, this.#trail, this.#findings)
  }

  async run(): Promise<void> {
    const { store, pinned, keys } = this.#settings
    const state = this.#state
    const given = pinned === undefined ? [] : [pinned]
    given.push(...(await this.#witness.open(state)))
    if (state === null) {
      this.#findings.add({ kind: 'gap', detail: 'the log does not exist' })
      await this.#trail.open(null, given)
      return this.#trail.finish()
    }
    checkState(store, state, keys, this.#findings)
    await this.#trail.open(state, given)
    let continues = await this.#walkPruned(state)
    this.#ledger.beginAt(state.minIndex, this.#tree.root())
    for (let start = state.minIndex; continues && start < state.size; start += BATCH) {
      continues = await this.#walkEntries(start, Math.min(state.size, start + BATCH))
      this.#settings.onProgress?.(this.#tree.size, state.size)
    }
    await this.#trail.finish()
    this.#tree.reportWrongEntries()
    const surplus = await this.#countSurplus(state.size)
    if (surplus > 0) {
      const detail = `${surplus} entries are stored beyond the signed size`
      this.#findings.add({ kind: 'inserted', index: state.size, detail })
    }
    this.#witness.finish(state)
    if (this.#settings.isForeign !== true) await this.#ledger.finish(store, state)
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
      witnesses: this.#witness.found,
      ...this.#ledger.summary(),
      findings: this.#findings.list,
      counts: this.#findings.counts,
      exitCode: this.#findings.exitCode(),
    }
  }

  /** A log in use may grow between the two calls of the store. */
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

  /** The hashes of pruned entries are still stored and must lead to the same roots. */
  async #walkPruned({ minIndex, size }: LogState): Promise<boolean> {
    for (let index = 0; index < minIndex; index++) {
      if (index % TILE_WIDTH === 0) await this.#tiles.load(index)
      this.#tree.addPruned(index)
      // Stop here: `minIndex` is not signed, so it could demand any number of entries.
      if (!this.#tiles.isLoaded) return false
      if (this.#tree.isDue) await this.#tree.compare()
      if (index % PROGRESS_ENTRIES === 0) this.#settings.onProgress?.(index, size)
    }
    return true
  }

  /** Reads a range of entries; a bundle that cannot be decoded is reported and counts as empty. */
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

  /** @returns `false` if nothing is stored from here on; the state's size is not signed and may be huge. */
  async #walkEntries(start: number, end: number): Promise<boolean> {
    const stored = await this.#read(start, end)
    await this.#tiles.load(start)
    if (stored.length === 0 && !this.#tiles.isLoaded) {
      const detail = 'nothing is stored from this index on'
      this.#findings.add({ kind: 'missing', index: start, detail })
      return false
    }
    let at = 0
    for (let index = start; index < end; index++) {
      if (index === start || index % TILE_WIDTH === 0) await this.#tiles.load(index)
      const entry = stored[at]?.index === index ? stored[at++] : undefined
      if (entry === undefined) {
        this.#tree.addMissing(index)
        this.#ledger.skip()
      } else {
        while (stored[at]?.index === index) {
          at++
          this.#findings.add({ kind: 'inserted', index, detail: 'two entries have this index' })
        }
        this.#check(index, entry)
      }
      // Awaiting every entry would be slow, so the loop waits only when there is something to wait for.
      if (this.#blobs.length > 0) await this.#checkBlobs()
      if (this.#tree.isDue) await this.#tree.compare()
    }
    await this.#values.compare()
    return true
  }

  #check(index: number, { leaf, columns }: StoredEntry): void {
    this.#entries++
    if (this.#settings.isForeign === true) return this.#checkForeign(index, leaf)
    const record = parseLeaf(leaf)
    this.#tree.add(index, leafHashBinary(leaf), record?.id)
    if (record !== undefined) this.#witness.add(index, record)
    if (record === undefined || !this.#examine(index, record, leaf, columns)) {
      this.#findings.add({ kind: 'malformed', index, detail: 'the entry is not a valid record' })
    }
  }

  /** Each character of a foreign entry is one byte; see `TileLog`. */
  #checkForeign(index: number, leaf: string): void {
    const hash = leafHash(Buffer.from(leaf, 'latin1')).toString('latin1')
    this.#tree.add(index, hash, undefined)
  }

  /** @returns `false` for an invalid record. Validating only after a failure saves time for valid records. */
  #examine(
    index: number,
    record: AuditRecord,
    leaf: string,
    columns: StoredEntry['columns'],
  ): boolean {
    try {
      if (columns !== undefined) this.#compareColumns(index, record, columns)
      this.#ledger.add(index, record, leaf)
      if (record.blob !== undefined) this.#blobs.push({ index, record })
      else if (leaf.includes('"$pii"')) this.#values.add(index, record)
      return true
    } catch (error) {
      if (isValidRecord(record)) throw error
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
      const detail = `the column "${name}" was edited; it differs from the record`
      this.#findings.add({ kind: 'column', index, id: record.id, detail })
    }
  }

  async #checkBlobs(): Promise<void> {
    // A copy of the tiles does not have them.
    if (this.#settings.store.kind === 'tiles') this.#blobs.length = 0
    for (const { index, record } of this.#blobs.splice(0)) {
      const { id } = record
      const sha256 = record.blob?.sha256 ?? ''
      const blob = await this.#settings.store.blob(sha256)
      const actual = blob === undefined ? '' : createHash('sha256').update(blob).digest('hex')
      if (actual === sha256) {
        this.#values.add(index, record, blob)
        continue
      }
      const detail = `the large members of the record are ${blob === undefined ? 'missing' : 'edited'}`
      this.#findings.add({ kind: 'blob', index, id, detail })
    }
  }
}
