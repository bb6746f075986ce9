/** Fetches and hashes every entry that the log still keeps. */
import { areEqual, concat, type Bytes } from './bytes.ts'
import { leafHash } from './merkle.ts'
import {
  decodeBundle,
  perfectRoot,
  TILE_HEIGHT,
  TILE_WIDTH,
  TileError,
  tilePath,
  type TileFetcher,
} from './tiles.ts'
import type { Check, VerifiedLog } from './verify-log.ts'

const MAX_NAMED = 10
const PRUNED = 'audit_log.log_pruned'

/**
 * Compares every entry with the signed tree, from the newest to the oldest.
 *
 * @param onProgress gets 0 to 1
 */
export async function verifyEntries(
  { checkpoint: { size }, read }: VerifiedLog,
  fetchTile: TileFetcher,
  onProgress: (share: number) => void,
): Promise<Check> {
  const wrong: number[] = []
  /** A signed record says that the entries before this one were removed when their time was over. */
  let pruned = 0
  let first = size
  for (let start = size - 1 - ((size - 1) % TILE_WIDTH); start >= pruned; start -= TILE_WIDTH) {
    const width = Math.min(TILE_WIDTH, size - start)
    const entries = await readBundle(fetchTile, start, width)
    if (entries === undefined) return failed([...wrong, start])
    const hashes = await Promise.all(entries.map((entry) => leafHash(entry)))
    const edited = await findEdited(read, hashes, start)
    wrong.push(...edited)
    if (edited.length === 0) pruned = Math.max(pruned, ...entries.map(prunedBefore))
    first = start
    onProgress((size - start) / Math.max(1, size - pruned))
  }
  if (wrong.length > 0) return failed(wrong)
  const kept = first === 0 || size === 0 ? '' : ` Those before #${first} are no longer kept.`
  const text = `${size - first} entries were fetched and hashed; each is in the signed tree.${kept}`
  return { name: 'entries', passed: true, text }
}

function failed(indexes: readonly number[]): Check {
  const named = indexes.slice(0, MAX_NAMED).map((index) => `#${index}`)
  const more = indexes.length > MAX_NAMED ? ' and more' : ''
  return { name: 'entries', passed: false, text: `Edited or missing: ${named.join(', ')}${more}.` }
}

async function readBundle(
  fetchTile: TileFetcher,
  start: number,
  width: number,
): Promise<Bytes[] | undefined> {
  try {
    const entries = decodeBundle(await fetchTile(tilePath('entries', start / TILE_WIDTH, width)))
    return entries?.length === width ? entries : undefined
  } catch (error) {
    if (error instanceof TileError) return undefined
    throw error
  }
}

/** Which entries do not have the hash that the tree has. */
async function findEdited(
  read: VerifiedLog['read'],
  hashes: readonly Bytes[],
  start: number,
): Promise<number[]> {
  if (hashes.length === TILE_WIDTH) {
    // The tile above has the root of the bundle, so that a tile of hashes is fetched only if one differs.
    const root = await perfectRoot(concat(...hashes))
    const known = await read(TILE_HEIGHT, start / TILE_WIDTH)
    if (areEqual(root, known)) return []
  }
  const known = await Promise.all(hashes.map((_, offset) => read(0, start + offset)))
  return hashes.flatMap((hash, offset) => (areEqual(hash, known[offset]!) ? [] : [start + offset]))
}

const decoder = new TextDecoder()

function prunedBefore(entry: Bytes): number {
  const text = decoder.decode(entry)
  if (!text.includes(PRUNED)) return 0
  const { action, data } = JSON.parse(text) as { action?: string; data?: { before?: number } }
  return action === PRUNED ? (data?.before ?? 0) : 0
}
