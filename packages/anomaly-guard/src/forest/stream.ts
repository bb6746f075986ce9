/** A forest that follows a stream: a sliding buffer of rows, from which trees are replaced in turn. */
import { allocateSets, IsolationForest } from './forest.ts'
import { drawSample, TreeGrowth } from './grow-tree.ts'
import { createRandom, type Random } from './random.ts'
import { copyTree, createTreeSet } from './tree-set.ts'
import type { ForestSettings, Matrix, TreeSet } from './types.ts'

/** Settings of a {@link StreamingForest}. */
export interface StreamSettings extends ForestSettings {
  readonly features: number
  /** How many of the latest rows trees are grown from. @default 8192 */
  readonly bufferRows?: number
  /** How many rows the first forest needs. @default 256 */
  readonly minRows?: number
  /** After how many rows trees are replaced. @default 256 */
  readonly refreshRows?: number
  /** How many are replaced then. @default 4 */
  readonly refreshTrees?: number
}

/** Values read in one slice of work, at 2 to 4 ns each. */
const VISITS = 32_768

interface Slot {
  readonly set: TreeSet
  readonly tree: number
}

interface Job {
  readonly slot: Slot
  readonly scratch: TreeSet
  readonly growth: TreeGrowth
}

/** Learns from rows, and scores with the trees that are complete. */
export class StreamingForest {
  readonly #settings: Required<Omit<StreamSettings, 'trees' | 'sampleSizes' | 'seed'>>
  readonly #random: Random
  readonly #values: Float32Array
  readonly #pending = new Set<number>()
  #sets: readonly TreeSet[]
  #slots: readonly Slot[]
  #forest: IsolationForest | undefined
  #learnt = 0
  #filled = 0
  #next = 0
  #turn = 0
  #job: Job | undefined

  constructor(settings: StreamSettings) {
    const { features, trees = 100, sampleSizes = [256], seed = 0 } = settings
    const { bufferRows = 8192, minRows = 256, refreshRows = 256, refreshTrees = 4 } = settings
    this.#settings = { features, bufferRows, minRows, refreshRows, refreshTrees }
    this.#random = createRandom(seed)
    this.#values = new Float32Array(bufferRows * features)
    this.#sets = allocateSets(trees, sampleSizes, bufferRows)
    this.#slots = slotsOf(this.#sets)
  }

  /** `undefined` before the first forest is complete. */
  get forest(): IsolationForest | undefined {
    return this.#forest
  }

  /** How many rows were learnt in all. */
  get learnt(): number {
    return this.#learnt
  }

  /** The latest rows, in no particular order. */
  get buffer(): Matrix {
    return { values: this.#values, rows: this.#filled, columns: this.#settings.features }
  }

  /** Whether {@link StreamingForest.work} has something to do. */
  get hasWork(): boolean {
    return this.#job !== undefined || this.#pending.size > 0
  }

  /** Copies a row into the buffer; the trees that it calls for are left to {@link StreamingForest.work}. */
  learn(row: ArrayLike<number>): void {
    const { features, bufferRows, minRows, refreshRows, refreshTrees } = this.#settings
    for (let i = 0; i < features; i++) this.#values[this.#next * features + i] = row[i]!
    this.#next = (this.#next + 1) % bufferRows
    const grows = this.#filled < bufferRows
    this.#filled = Math.min(this.#filled + 1, bufferRows)
    this.#learnt++
    // The first trees know little, so all are replaced each time that the buffer has doubled.
    if (grows && isDoubled(this.#filled, minRows)) this.#order(this.#slots.length)
    else if (this.#filled >= minRows && this.#learnt % refreshRows === 0) this.#order(refreshTrees)
  }

  /** Grows trees for at most about a tenth of a millisecond. @returns true if more is left. */
  work(): boolean {
    if (!this.hasWork) return false
    this.#job ??= this.#startJob()
    const { slot, scratch, growth } = this.#job
    if (!growth.step(VISITS)) return true
    copyTree(scratch, 0, slot.set, slot.tree)
    this.#job = undefined
    if (this.#pending.size > 0) return true
    this.#forest ??= new IsolationForest(this.#settings.features, this.#sets)
    return false
  }

  /** Starts with a saved forest. @param learnt how many rows it had learnt. */
  adopt(forest: IsolationForest, learnt: number): void {
    this.#sets = forest.sets
    this.#slots = slotsOf(forest.sets)
    this.#forest = forest
    this.#learnt = Math.max(learnt, this.#filled)
    this.#pending.clear()
    this.#job = undefined
  }

  #order(count: number): void {
    for (let i = 0; i < count; i++) this.#pending.add(this.#turn++ % this.#slots.length)
  }

  #startJob(): Job {
    const [index] = this.#pending
    this.#pending.delete(index!)
    const slot = this.#slots[index!]!
    const scratch = createTreeSet(1, slot.set.sampleSize, slot.set.depth)
    const sample = drawSample(this.buffer, slot.set.sampleSize, this.#random)
    const growth = new TreeGrowth(sample, { set: scratch, tree: 0 }, this.#random)
    return { slot, scratch, growth }
  }
}

function slotsOf(sets: readonly TreeSet[]): Slot[] {
  return sets.flatMap((set) => Array.from({ length: set.trees }, (_, tree) => ({ set, tree })))
}

/** Whether the rows are `least`, or that times a power of two. */
function isDoubled(rows: number, least: number): boolean {
  const ratio = rows / least
  return ratio >= 1 && Number.isInteger(ratio) && (ratio & (ratio - 1)) === 0
}
