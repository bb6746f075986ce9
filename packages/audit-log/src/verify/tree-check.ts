/** Compares the tree over the stored entries with the tiles and with every checkpoint. */
import { CompactRange } from '../log/compact-range.ts'
import { HASH_BYTES, type BinaryHash } from '../log/merkle-tree.ts'
import { TILE_HEIGHT, TILE_WIDTH } from '../log/tiles.ts'
import type { CheckpointTrail } from './checkpoint-trail.ts'
import type { Findings } from './report.ts'
import type { StoredTiles } from './stored-tiles.ts'

/** An entry whose hash differs from its tile. */
interface Mismatch {
  readonly index: number
  readonly id: string | undefined
  readonly leaf: BinaryHash
  readonly tile: BinaryHash
}

const NO_HASH: BinaryHash = '\u0000'.repeat(HASH_BYTES)

/** Takes the entries in order. */
export class TreeCheck {
  readonly #tiles: StoredTiles
  readonly #trail: CheckpointTrail
  readonly #findings: Findings
  /** The tree over the entries as stored. */
  #tree = new CompactRange()
  /** The tree at the last checkpoint that matched. */
  #good = new CompactRange()
  #mismatches: Mismatch[] = []
  /** Mismatches where the tile was right, so that the entry was edited or moved. */
  readonly #wrongEntries: Mismatch[] = []
  /** Completed subtrees since the last checkpoint that higher tiles must contain. */
  #above: { level: number; index: number; root: BinaryHash }[] = []

  constructor(tiles: StoredTiles, trail: CheckpointTrail, findings: Findings) {
    this.#tiles = tiles
    this.#trail = trail
    this.#findings = findings
  }

  /** The root of the entries so far. */
  root(): Buffer {
    return this.#tree.root()
  }

  /** The number of entries so far. */
  get size(): number {
    return this.#tree.size
  }

  /** Whether {@link compare} must be called now. */
  get isDue(): boolean {
    return this.#trail.isDue(this.#tree.size)
  }

  /** Adds a pruned entry: only its hash in the tile is left. */
  addPruned(index: number): void {
    const hash = this.#tiles.leafHash(index)
    if (hash === undefined) {
      this.#findings.add({ kind: 'tile', index, detail: 'the hash of a pruned entry is missing' })
    }
    this.#tree.append(hash ?? NO_HASH)
  }

  /** Adds a missing entry. */
  addMissing(index: number): void {
    this.#findings.add({ kind: 'missing', index, detail: 'the entry is not stored' })
    this.#tree.append(this.#tiles.leafHash(index) ?? NO_HASH, this.#onSubtree)
  }

  /** Adds a stored entry and compares it with its tile. */
  add(index: number, hash: BinaryHash, id: string | undefined): void {
    const tile = this.#tiles.leafHash(index)
    if (tile === undefined) {
      this.#findings.add({ kind: 'tile', index, detail: 'the tile of this entry is missing' })
    } else if (hash !== tile) {
      this.#mismatches.push({ index, id, leaf: hash, tile })
    }
    this.#tree.append(hash, this.#onSubtree)
  }

  /** At a checkpoint, the entries must lead to its root; otherwise finds out whether entries or tiles are wrong. */
  async compare(): Promise<void> {
    const size = this.#tree.size
    let fits = this.#trail.matches(this.#tree.root())
    if (fits) {
      for (const { index } of this.#mismatches) {
        const detail = 'the tile was edited; the entry is unchanged'
        this.#findings.add({ kind: 'tile', index, detail })
      }
    } else {
      const byTiles = await this.#treeByTiles(size)
      fits = this.#trail.matches(byTiles.root())
      this.#wrongEntries.push(...this.#mismatches)
      if (!fits) this.#trail.refuse(this.#good.size, size)
      this.#tree = byTiles
    }
    if (fits) await this.#compareAbove()
    await this.#trail.advance()
    this.#above = []
    this.#mismatches = []
    this.#good = this.#tree.copy()
  }

  /** Reports the wrong entries: `reordered` if another place has the right entry, else `edited`. */
  reportWrongEntries(): void {
    const places = new Map(this.#wrongEntries.map(({ leaf, index }) => [leaf, index]))
    for (const { index, id, tile } of this.#wrongEntries) {
      const from = places.get(tile)
      const named = id === undefined ? {} : { id }
      if (from === undefined) {
        const detail = 'the record was edited; its hash is not the signed one'
        this.#findings.add({ kind: 'edited', index, ...named, detail })
      } else {
        const detail = `the record was moved; the right record is at index ${from}`
        this.#findings.add({ kind: 'reordered', index, ...named, detail })
      }
    }
  }

  /** The tree from the last good checkpoint on, by the hashes in the tiles. */
  async #treeByTiles(size: number): Promise<CompactRange> {
    const tree = this.#good.copy()
    const start = tree.size
    // The subtrees of edited entries would accuse the tiles above them.
    this.#above = []
    for (let index = start; index < size; index++) {
      if (index === start || index % TILE_WIDTH === 0) await this.#tiles.load(index)
      tree.append(this.#tiles.leafHash(index) ?? NO_HASH, this.#onSubtree)
    }
    return tree
  }

  /** 256 hashes of one level give one hash of the next level, which is in a tile as well. */
  readonly #onSubtree = (height: number, index: number, root: BinaryHash): void => {
    if (height % TILE_HEIGHT === 0) this.#above.push({ level: height / TILE_HEIGHT, index, root })
  }

  async #compareAbove(): Promise<void> {
    for (const { level, index, root } of this.#above) {
      if ((await this.#tiles.hash(level, index)) === root) continue
      const first = index * TILE_WIDTH ** level
      const detail = `the tile of level ${level} above this entry was edited or is missing`
      this.#findings.add({ kind: 'tile', index: first, detail })
    }
  }
}
