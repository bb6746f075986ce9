/** Tiles and entry bundles as C2SP tlog-tiles serves them. */
import type { LogStore } from '../log/log-store.ts'
import { HASH_BYTES } from '../log/merkle-tree.ts'
import { encodeBundle, TILE_WIDTH, type TilePath } from '../log/tiles.ts'

/** The bytes of a tile or bundle; `undefined` if the log does not have all of it. */
export async function readTile(
  store: LogStore,
  { level, index, width }: TilePath,
): Promise<Buffer | undefined> {
  if (level === 'entries') {
    const start = index * TILE_WIDTH
    const entries = await store.entries(start, start + width)
    return entries.length === width ? encodeBundle(entries.map(({ leaf }) => leaf)) : undefined
  }
  const hashes = await store.tile(level, index)
  const bytes = width * HASH_BYTES
  return hashes === undefined || hashes.length < bytes ? undefined : hashes.subarray(0, bytes)
}
