/** Appends leaves to a tree, with the memory of its unfinished tiles only. */
import { EMPTY_ROOT, HASH_BYTES, leafHashBinary, nodeHash } from './merkle-tree.ts'
import { perfectRoot, rowLength, TILE_WIDTH, type Tile } from './tiles.ts'

/** The growing right edge of a tree: for every level, the hashes of its unfinished tile. */
export class TreeEdge {
  /** The number of leaves in the tree. */
  size: number
  /** By level; at most 255 hashes each. */
  readonly #levels: { used: number; hashes: Buffer }[]

  constructor(size = 0, partialTiles: readonly Buffer[] = []) {
    this.size = size
    this.#levels = partialTiles.map((tile) => {
      const hashes = Buffer.alloc(TILE_WIDTH * HASH_BYTES)
      tile.copy(hashes)
      return { used: tile.length / HASH_BYTES, hashes }
    })
  }

  /** Appends leaves. @returns every new or longer tile, full tiles first */
  append(leaves: readonly string[]): Tile[] {
    const full: Tile[] = []
    const touched = new Set<number>()
    for (const leaf of leaves) {
      const level = this.#level(0)
      level.hashes.write(leafHashBinary(leaf), level.used * HASH_BYTES, 'latin1')
      level.used++
      touched.add(0)
      this.size++
      if (level.used === TILE_WIDTH) this.#carry(full, touched)
    }
    const partial = this.partialTiles().flatMap((hashes, level) =>
      touched.has(level) && hashes.length > 0
        ? [{ level, index: Math.floor(rowLength(this.size, level) / TILE_WIDTH), hashes }]
        : [],
    )
    return [...full, ...partial]
  }

  /** A copy of the unfinished tile of each level, lowest level first; a tile may be empty. */
  partialTiles(): Buffer[] {
    return this.#levels.map(({ used, hashes }) =>
      Buffer.from(hashes.subarray(0, used * HASH_BYTES)),
    )
  }

  /** The root of the tree. */
  root(): Buffer {
    const peaks = this.#levels.toReversed().flatMap(({ used, hashes }) => peaksOf(hashes, used))
    const last = peaks.pop()
    if (last === undefined) return EMPTY_ROOT
    return Buffer.from(peaks.reduceRight((right, left) => nodeHash(left, right), last))
  }

  #carry(full: Tile[], touched: Set<number>): void {
    for (let level = 0; this.#level(level).used === TILE_WIDTH; level++) {
      const { hashes } = this.#level(level)
      const index = rowLength(this.size, level) / TILE_WIDTH - 1
      full.push({ level, index, hashes })
      const root = perfectRoot(hashes, 0, TILE_WIDTH)
      this.#levels[level] = emptyLevel()
      const above = this.#level(level + 1)
      root.copy(above.hashes, above.used * HASH_BYTES)
      above.used++
      touched.add(level + 1)
    }
  }

  #level(level: number): { used: number; hashes: Buffer } {
    return (this.#levels[level] ??= emptyLevel())
  }
}

function emptyLevel(): { used: number; hashes: Buffer } {
  return { used: 0, hashes: Buffer.alloc(TILE_WIDTH * HASH_BYTES) }
}

/** The roots of the perfect subtrees that the first `count` hashes form, largest first. */
function peaksOf(hashes: Buffer, count: number): Buffer[] {
  const peaks: Buffer[] = []
  let start = 0
  for (let size = TILE_WIDTH / 2; size >= 1; size /= 2) {
    if (count - start < size) continue
    peaks.push(perfectRoot(hashes, start, size))
    start += size
  }
  return peaks
}
