/** Moves records into the log, and stops if the stored log was rolled back or replaced. */
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type { LogState, LogStore, PlanIntegration } from '../log/log-store.ts'
import { HASH_BYTES, rangeHash } from '../log/merkle-tree.ts'
import { subtreesOf } from '../log/tiles.ts'
import { Files } from '../wal/files.ts'

/** What {@link Sequencer} needs. */
export interface SequencerSettings {
  readonly store: LogStore
  readonly plan: PlanIntegration
  /** The folder that keeps the last size and root that this process saw. */
  readonly folder: string
  /** The maximum number of records in one step. */
  readonly batchRecords: number
  readonly onTampering: (problem: string) => void
  /** Called after each step, for example to publish the checkpoint. */
  readonly onCheckpoint: (state: LogState) => void
}

/** The size and root of a log. */
export interface Seen {
  readonly size: number
  readonly root: string
}

const FILE = 'seen.json'

/** Runs the steps of the log. */
export class Sequencer {
  readonly #settings: SequencerSettings
  readonly #files: Files
  #seen: Seen | undefined
  #halted: string | undefined
  #isChecked = false

  constructor(settings: SequencerSettings) {
    this.#settings = settings
    this.#files = new Files(settings.folder)
  }

  /** Why sequencing stopped; `undefined` while it works. */
  get halted(): string | undefined {
    return this.#halted
  }

  /** Reads the size and root that the last process saw. @throws PARAPET_AUDIT_LOG_CORRUPT */
  async open(): Promise<void> {
    const text = (await this.#files.read(FILE))?.toString()
    if (text !== undefined) this.#seen = parseSeen(text)
  }

  /** What this instance saw; `undefined` before its first step. */
  get seen(): Seen | undefined {
    return this.#seen
  }

  /** Whether the log that was seen before is a prefix of the stored log. @throws the store's error */
  async isContinued(): Promise<boolean> {
    return (await this.#faultOfContinuity(await this.#settings.store.state())) === undefined
  }

  /** Compares the stored log with what was seen before, once after the start; before that nothing may be shipped. */
  async checkOnce(): Promise<void> {
    if (!this.#isChecked) await this.#checkContinuity()
  }

  /** Takes the stored log for the one to continue. */
  async accept(state: LogState): Promise<void> {
    this.#halted = undefined
    await this.#remember(state)
  }

  /** Runs one step; see `LogStore.sequence`. @returns whether there may be more records. */
  async step(urgentFor?: ReadonlySet<string>): Promise<boolean> {
    const { store, plan, batchRecords } = this.#settings
    await this.#checkContinuity()
    if (this.#halted !== undefined) return false
    let next: LogState | undefined
    const sequenced = store.sequence(
      async (current, inbox, writers) => {
        if (current.size < (this.#seen?.size ?? 0)) throw new PARAPET_AUDIT_LOG_CORRUPT(ROLLED_BACK)
        const step = await plan(current, inbox, writers)
        next = step?.next
        return step
      },
      batchRecords,
      urgentFor,
    )
    const count = await sequenced.catch((error: unknown) => {
      if (!(error instanceof PARAPET_AUDIT_LOG_CORRUPT)) throw error
      this.#halt(error.message)
      return 0
    })
    if (this.#halted !== undefined) return false
    if (next !== undefined) {
      await this.#remember(next)
      this.#settings.onCheckpoint(next)
    }
    return count >= batchRecords
  }

  /** The log that was seen before must be a prefix of the stored log. */
  async #checkContinuity(): Promise<void> {
    const seen = this.#seen
    if (seen === undefined || seen.size === 0 || this.#halted !== undefined) return
    const state = await this.#settings.store.state()
    const fault = await this.#faultOfContinuity(state)
    this.#isChecked = true
    if (fault !== undefined) this.#halt(fault)
    else if (state !== null && state.size !== seen.size) await this.#remember(state)
  }

  async #faultOfContinuity(state: LogState | null): Promise<string | undefined> {
    const seen = this.#seen
    if (seen === undefined || seen.size === 0) return undefined
    const { store } = this.#settings
    if (state?.size === seen.size && state.root.toString('base64') === seen.root) return undefined
    if (state === null || state.size < seen.size) return ROLLED_BACK
    let isComplete = true
    const read = subtreesOf(async (level, index, width) => {
      // An error of the store says nothing about the log: the check is repeated.
      const tile = await store.tile(level, index)
      if (tile !== undefined && tile.length >= width * HASH_BYTES) return tile
      isComplete = false
      return Buffer.alloc(width * HASH_BYTES)
    }, seen.size)
    const root = await rangeHash(read, 0, seen.size)
    return isComplete && Buffer.from(root).toString('base64') === seen.root ? undefined : FORKED
  }

  #halt(problem: string): void {
    this.#halted = problem
    this.#settings.onTampering(problem)
  }

  async #remember({ size, root }: LogState): Promise<void> {
    this.#seen = { size, root: root.toString('base64') }
    await this.#files.replace(FILE, JSON.stringify(this.#seen))
  }
}

function parseSeen(text: string): Seen {
  try {
    const { size, root } = JSON.parse(text) as Seen
    if (Number.isSafeInteger(size) && typeof root === 'string') return { size, root }
  } catch {
    // Reported below.
  }
  throw new PARAPET_AUDIT_LOG_CORRUPT(`the file ${FILE} is not valid JSON with size and root`)
}

const ROLLED_BACK = 'the stored log is shorter than before; see "audit-log recover"'
const FORKED = 'the stored log is not a continuation of the log that was seen before'
