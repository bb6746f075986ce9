/** Inclusion and consistency proofs from a stored log. */
import { PARAPET_AUDIT_LOG_NOT_FOUND } from '../errors.ts'
import { parseCheckpoint } from './checkpoint.ts'
import type { LogStore, PlacedEntry } from './log-store.ts'
import { consistencyProof, inclusionProof } from './merkle-proofs.ts'
import { HASH_BYTES, type SubtreeReader } from './merkle-tree.ts'
import { parseNote } from './signed-note.ts'
import { subtreesOf } from './tiles.ts'

/** An entry with its proof; the log's public key is enough to verify it. */
export interface ProvenEntry {
  readonly index: number
  readonly leaf: string
  /** Hashes in base64, from the leaf up. @see RFC 9162, section 2.1.3 */
  readonly proof: readonly string[]
  /** The signed checkpoint that the proof leads to: the cosigned one, if it covers the entry. */
  readonly checkpoint: string
}

/** Reads subtree roots from a store. @throws PARAPET_AUDIT_LOG_NOT_FOUND a tile is missing. */
export function storedSubtrees(store: Pick<LogStore, 'tile'>, size: number): SubtreeReader {
  return subtreesOf(async (level, index, width) => {
    const tile = await store.tile(level, index)
    if (tile === undefined || tile.length < width * HASH_BYTES)
      throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    return tile
  }, size)
}

/** Proves entries in the current log. @throws PARAPET_AUDIT_LOG_NOT_FOUND the log is empty. */
export async function proveEntries(
  store: LogStore,
  entries: readonly PlacedEntry[],
): Promise<ProvenEntry[]> {
  const trees = await signedTrees(store)
  const proven: ProvenEntry[] = []
  for (const { index, leaf } of entries) {
    const tree = trees.find(({ size }) => index < size)
    if (tree === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    const hashes = await inclusionProof(tree.read, index, tree.size)
    const proof = hashes.map((hash) => Buffer.from(hash).toString('base64'))
    proven.push({ index, leaf, proof, checkpoint: tree.note })
  }
  return proven
}

/** The trees that proofs may lead to; the one that the witness cosigned convinces more readers. */
async function signedTrees(store: LogStore) {
  const state = await store.state()
  if (state === null || state.size === 0) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
  const cosigned = (await store.cosigned()) ?? ''
  const size = parseCheckpoint(parseNote(cosigned)?.text ?? '')?.size ?? 0
  const trees = [{ size: state.size, note: state.note }]
  if (size > 0 && size <= state.size) trees.unshift({ size, note: cosigned })
  return trees.map((tree) => ({ ...tree, read: keptSubtrees(store, tree.size) }))
}

/** Neighbours have most of their proof in common, and each tile is read once. */
function keptSubtrees(store: LogStore, size: number): SubtreeReader {
  const tile = keep((level, index) => store.tile(level, index))
  return keep(storedSubtrees({ tile }, size))
}

/** Keeps the results of a function of two numbers. */
function keep<T>(read: (a: number, b: number) => Promise<T>): (a: number, b: number) => Promise<T> {
  const kept = new Map<string, Promise<T>>()
  return (a, b) => {
    const key = `${a}/${b}`
    const known = kept.get(key) ?? read(a, b)
    kept.set(key, known)
    return known
  }
}

/** Proves that the log of `oldSize` entries is a prefix of the log of `newSize` entries. */
export async function proveConsistency(
  store: LogStore,
  oldSize: number,
  newSize: number,
): Promise<string[]> {
  const size = (await store.state())?.size ?? 0
  if (oldSize < 0 || oldSize > newSize || newSize > size) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
  const hashes = await consistencyProof(storedSubtrees(store, newSize), oldSize, newSize)
  return hashes.map((hash) => Buffer.from(hash).toString('base64'))
}
