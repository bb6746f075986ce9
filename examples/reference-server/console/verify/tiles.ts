/** Tiles of 256 hashes and bundles of 256 entries. @see https://c2sp.org/tlog-tiles */
import { areEqual, type Bytes } from './bytes.ts'
import { HASH_BYTES, nodeHash, type SubtreeReader } from './merkle.ts'

/** The number of hashes in a full tile, and of entries in a full bundle. */
export const TILE_WIDTH = 256
/** The number of rows of the tree in a tile. */
export const TILE_HEIGHT = 8

/** Fetches `tile/<path>`. */
export type TileFetcher = (path: string) => Promise<Bytes>

/** The path of a tile or bundle, below `tile/`. */
export function tilePath(level: number | 'entries', index: number, width: number): string {
  let name = String(index % 1000).padStart(3, '0')
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    name = `x${String(rest % 1000).padStart(3, '0')}/${name}`
  }
  return `${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

/** A tile that is missing, or that does not lead to the signed root. */
export class TileError extends Error {
  constructor(path: string, fault: string) {
    super(`Tile ${path} ${fault}.`)
    this.name = 'TileError'
  }
}

/**
 * Reads roots of subtrees from the tiles of a tree of `size` leaves; each tile is fetched once.
 *
 * A full tile must hash to its place in the tile above. The others, at the right edge, hash to the root of
 * the tree: once a caller has compared that, every hash is one that the checkpoint signs, and no proof is
 * needed. A reader throws a {@link TileError} instead of returning any other hash.
 */
export function subtreesOf(fetchTile: TileFetcher, size: number): SubtreeReader {
  const tiles = new Map<string, Promise<Bytes>>()
  const roots = new Map<string, Promise<Bytes>>()
  const openTile = async (path: string, level: number, index: number, width: number) => {
    const tile = await fetchTile(path)
    if (tile.length !== width * HASH_BYTES) throw new TileError(path, 'has another length')
    if (width < TILE_WIDTH) return tile
    const [root, above] = await Promise.all([
      perfectRoot(tile),
      read(TILE_HEIGHT * (level + 1), index),
    ])
    if (!areEqual(root, above)) throw new TileError(path, 'was edited')
    return tile
  }
  const tileOf = (level: number, index: number): Promise<Bytes> => {
    const width = Math.min(TILE_WIDTH, Math.floor(size / TILE_WIDTH ** level) - index * TILE_WIDTH)
    const path = tilePath(level, index, width)
    return keep(tiles, path, () => openTile(path, level, index, width))
  }
  const read: SubtreeReader = (height, index) =>
    keep(roots, `${height}/${index}`, async () => {
      const count = 2 ** (height % TILE_HEIGHT)
      const first = index * count
      const tile = Math.floor(first / TILE_WIDTH)
      const hashes = await tileOf(Math.floor(height / TILE_HEIGHT), tile)
      const start = (first - tile * TILE_WIDTH) * HASH_BYTES
      return perfectRoot(hashes.subarray(start, start + count * HASH_BYTES))
    })
  return read
}

/** The root over the hashes of a row; their number is a power of two. */
export async function perfectRoot(hashes: Bytes): Promise<Bytes> {
  if (hashes.length <= HASH_BYTES) return hashes
  const middle = hashes.length / 2
  const halves = [perfectRoot(hashes.subarray(0, middle)), perfectRoot(hashes.subarray(middle))]
  const [left, right] = await Promise.all(halves)
  return nodeHash(left!, right!)
}

/** Decodes a bundle: each entry follows its length, a 16-bit number. `undefined`: it is truncated. */
export function decodeBundle(bundle: Bytes): Bytes[] | undefined {
  const entries: Bytes[] = []
  const view = new DataView(bundle.buffer, bundle.byteOffset, bundle.length)
  let at = 0
  while (at < bundle.length) {
    if (at + 2 > bundle.length) return undefined
    const end = at + 2 + view.getUint16(at)
    if (end > bundle.length) return undefined
    entries.push(bundle.subarray(at + 2, end))
    at = end
  }
  return entries
}

function keep<T>(kept: Map<string, Promise<T>>, key: string, read: () => Promise<T>): Promise<T> {
  const known = kept.get(key)
  if (known !== undefined) return known
  const reading = read()
  kept.set(key, reading)
  // What could not be read is read again.
  reading.catch(() => kept.delete(key))
  return reading
}
