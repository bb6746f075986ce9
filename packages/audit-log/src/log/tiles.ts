/**
 * Tiles: the tree in files of at most 256 hashes, its entries in bundles of at most 256, and the
 * right edge that grows.
 *
 * @see https://c2sp.org/tlog-tiles
 */
import { EMPTY_ROOT, HASH_BYTES, leafHashBinary, nodeHash, type SubtreeReader } from './merkle.ts'

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256
/** Rows of the tree in one tile. */
export const TILE_HEIGHT = 8
/** The longest entry a bundle can hold, in bytes. */
export const MAX_ENTRY_BYTES = 65_535

/** One tile: the hashes of the row `level × 8`, from `index × 256` on; `width` of them. */
export interface Tile {
  readonly level: number
  readonly index: number
  readonly hashes: Buffer
}

/** The growing right edge of a tree: of every level the hashes that fill no tile yet. */
export class TreeEdge {
  /** Leaves in the tree. */
  size: number
  /** By level; each at most 255 hashes. */
  readonly #levels: { used: number; hashes: Buffer }[]

  constructor(size = 0, partialTiles: readonly Buffer[] = []) {
    this.size = size
    this.#levels = partialTiles.map((tile) => {
      const hashes = Buffer.alloc(TILE_WIDTH * HASH_BYTES)
      tile.copy(hashes)
      return { used: tile.length / HASH_BYTES, hashes }
    })
  }

  /** Appends leaves; returns every tile that is new or longer, full ones first. */
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

  /** A copy of each level's unfinished tile, lowest level first; may be empty. */
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

/** How many hashes the row of a level has in a tree of `size` leaves. */
function rowLength(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level)
}

/** The root of `count` hashes from `start`; `count` is a power of two. */
function perfectRoot(hashes: Uint8Array, start: number, count: number): Buffer {
  let row = Buffer.from(hashes.subarray(start * HASH_BYTES, (start + count) * HASH_BYTES))
  while (row.length > HASH_BYTES) {
    const above = Buffer.alloc(row.length / 2)
    for (let at = 0; at < above.length; at += HASH_BYTES) {
      nodeHash(
        row.subarray(at * 2, at * 2 + HASH_BYTES),
        row.subarray(at * 2 + HASH_BYTES, at * 2 + 2 * HASH_BYTES),
      ).copy(above, at)
    }
    row = above
  }
  return row
}

/** The roots of the perfect subtrees that `count` hashes fall into, largest first. */
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

/** Reads the hashes of one tile; it may have more than `width` of them. */
export type TileReader = (level: number, index: number, width: number) => Promise<Uint8Array>

/** A {@link SubtreeReader} over the tiles of a tree of `size` leaves; each tile is read once. */
export function subtreesOf(read: TileReader, size: number): SubtreeReader {
  const tiles = new Map<string, Promise<Uint8Array>>()
  return async (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT)
    const count = 2 ** (height % TILE_HEIGHT)
    const first = index * count
    const tile = Math.floor(first / TILE_WIDTH)
    const width = Math.min(TILE_WIDTH, rowLength(size, level) - tile * TILE_WIDTH)
    const key = `${level}/${tile}`
    let hashes = tiles.get(key)
    if (hashes === undefined) tiles.set(key, (hashes = read(level, tile, width)))
    return perfectRoot(await hashes, first - tile * TILE_WIDTH, count)
  }
}

/** `tile/<level>/<index>[.p/<width>]`; the level `entries` names a bundle. */
export function tilePath(level: number | 'entries', index: number, width: number): string {
  let name = String(index % 1000).padStart(3, '0')
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    name = `x${String(rest % 1000).padStart(3, '0')}/${name}`
  }
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

/** What {@link tilePath} wrote, or `undefined` for any other spelling. */
export function parseTilePath(
  path: string,
): { level: number | 'entries'; index: number; width: number } | undefined {
  const match =
    /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/.exec(path)
  if (match === null) return undefined
  const level = match[1] === 'entries' ? 'entries' : Number(match[1])
  const index = Number(match[2]!.replaceAll(/[x/]/g, ''))
  const width = match[3] === undefined ? TILE_WIDTH : Number(match[3])
  if (level !== 'entries' && level > 63) return undefined
  return tilePath(level, index, width) === path ? { level, index, width } : undefined
}

/** A bundle: each entry behind its length as a 16-bit big-endian number. */
export function encodeBundle(entries: readonly string[]): Buffer {
  const pieces: Buffer[] = []
  for (const entry of entries) {
    const bytes = Buffer.from(entry)
    const length = Buffer.alloc(2)
    length.writeUInt16BE(bytes.length)
    pieces.push(length, bytes)
  }
  return Buffer.concat(pieces)
}

/** The entries of a bundle, or `undefined` when it is cut or holds more than 256. */
export function decodeBundle(bundle: Buffer): string[] | undefined {
  const entries: string[] = []
  let at = 0
  while (at < bundle.length) {
    if (at + 2 > bundle.length) return undefined
    const end = at + 2 + bundle.readUInt16BE(at)
    if (end > bundle.length || entries.length === TILE_WIDTH) return undefined
    entries.push(bundle.toString('utf8', at + 2, end))
    at = end
  }
  return entries
}
