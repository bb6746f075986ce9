/** Reads hashes from the stored tiles, with a small cache. */
import type { VerifiableLog } from '../log/log-store.ts'
import { HASH_BYTES, type BinaryHash } from '../log/merkle-tree.ts'
import { TILE_WIDTH } from '../log/tiles.ts'

/** Tiles are read in order, so a few cached tiles are enough. */
const MAX_CACHED = 64

/** The lowest row of tiles is loaded one tile at a time; the hashes of that tile are read synchronously. */
export class StoredTiles {
  readonly #store: VerifiableLog
  readonly #cache = new Map<string, Buffer | undefined>()
  #loaded: Buffer | undefined

  constructor(store: VerifiableLog) {
    this.#store = store
  }

  /** Whether the tile of the last {@link load} exists. */
  get isLoaded(): boolean {
    return this.#loaded !== undefined
  }

  /** Loads the tile that has the hash of an entry. */
  async load(entryIndex: number): Promise<void> {
    this.#loaded = await this.#tile(0, Math.floor(entryIndex / TILE_WIDTH))
  }

  /** The hash of an entry, from the loaded tile; `undefined` if the tile does not have it. */
  leafHash(entryIndex: number): BinaryHash | undefined {
    return hashAt(this.#loaded, entryIndex)
  }

  /** A hash of a higher level. */
  async hash(level: number, index: number): Promise<BinaryHash | undefined> {
    return hashAt(await this.#tile(level, Math.floor(index / TILE_WIDTH)), index)
  }

  #tile(level: number, index: number): Promise<Buffer | undefined> | Buffer | undefined {
    const key = `${level}/${index}`
    if (this.#cache.has(key)) return this.#cache.get(key)
    return this.#store.tile(level, index).then((tile) => {
      if (this.#cache.size > MAX_CACHED) this.#cache.clear()
      this.#cache.set(key, tile)
      return tile
    })
  }
}

function hashAt(tile: Buffer | undefined, index: number): BinaryHash | undefined {
  const at = (index % TILE_WIDTH) * HASH_BYTES
  return tile === undefined || tile.length < at + HASH_BYTES
    ? undefined
    : tile.toString('latin1', at, at + HASH_BYTES)
}
