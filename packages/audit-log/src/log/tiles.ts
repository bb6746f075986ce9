/**
 * Tiles (at most 256 hashes of the tree) and entry bundles (at most 256 entries): layout and paths.
 *
 * @see https://c2sp.org/tlog-tiles
 */
import { HASH_BYTES, nodeHash, type SubtreeReader } from './merkle-tree.ts'

/** The number of hashes in a full tile, and of entries in a full bundle. */
export const TILE_WIDTH = 256
/** The number of tree rows that one tile covers. */
export const TILE_HEIGHT = 8

/** One tile: hashes of the tree row `level × 8`, from position `index × 256`. */
export interface Tile {
  readonly level: number
  readonly index: number
  readonly hashes: Buffer
}

/** The number of hashes in the lowest row of a level, in a tree of `size` leaves. */
export function rowLength(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level)
}

/** The root over `count` hashes from `start`; `count` must be a power of two. */
export function perfectRoot(hashes: Uint8Array, start: number, count: number): Buffer {
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

/** Reads the hashes of one tile; the result may have more than `width` hashes. */
export type TileReader = (level: number, index: number, width: number) => Promise<Uint8Array>

/** Reads subtree roots from the tiles of a tree of `size` leaves; each tile is read once. */
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

/** The position of a tile or bundle. */
export interface TilePath {
  /** `entries` for an entry bundle. */
  readonly level: number | 'entries'
  readonly index: number
  /** 1 to 256; 256 if the tile is full. */
  readonly width: number
}

/** The path `tile/<level>/<index>[.p/<width>]` of a tile or bundle. */
export function tilePath(level: number | 'entries', index: number, width: number): string {
  let name = String(index % 1000).padStart(3, '0')
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    name = `x${String(rest % 1000).padStart(3, '0')}/${name}`
  }
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

/** Parses a path; only the spelling of {@link tilePath} is accepted, else `undefined`. */
export function parseTilePath(path: string): TilePath | undefined {
  const match =
    /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/.exec(path)
  if (match === null) return undefined
  const level = match[1] === 'entries' ? 'entries' : Number(match[1])
  const index = Number(match[2]!.replaceAll(/[x/]/g, ''))
  const width = match[3] === undefined ? TILE_WIDTH : Number(match[3])
  if (level !== 'entries' && level > 63) return undefined
  return tilePath(level, index, width) === path ? { level, index, width } : undefined
}

/** Encodes a bundle: each entry follows its length, a 16-bit big-endian number. */
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

/**
 * Decodes a bundle; `undefined` if it is truncated or has more than 256 entries.
 *
 * @param encoding `latin1` for entries that are no text: one character is one byte then.
 */
export function decodeBundle(
  bundle: Buffer,
  encoding: 'utf8' | 'latin1' = 'utf8',
): string[] | undefined {
  const entries: string[] = []
  let at = 0
  while (at < bundle.length) {
    if (at + 2 > bundle.length) return undefined
    const end = at + 2 + bundle.readUInt16BE(at)
    if (end > bundle.length || entries.length === TILE_WIDTH) return undefined
    entries.push(bundle.toString(encoding, at + 2, end))
    at = end
  }
  return entries
}
