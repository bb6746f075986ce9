/** Proofs from a store. */
import { PARAPET_AUDIT_LOG_NOT_FOUND } from '../errors.ts'
import type { OcsfClass } from '../record/actions.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import type { LogStore, PlacedEntry } from '../store/log-store.ts'
import { consistencyProof, inclusionProof, type SubtreeReader } from './merkle.ts'
import { subtreesOf } from './tiles.ts'

/** An entry that a stranger can check with nothing but the log's public key. */
export interface ProvenEntry {
  readonly index: number
  readonly leaf: string
  /** Hashes in base64, from the leaf upwards. @see RFC 9162, section 2.1.3 */
  readonly proof: readonly string[]
  /** The signed checkpoint that the proof leads to. */
  readonly checkpoint: string
}

/** A {@link SubtreeReader} over the tiles of a store. @throws PARAPET_AUDIT_LOG_NOT_FOUND a tile is missing. */
function storedSubtrees(store: LogStore, size: number): SubtreeReader {
  return subtreesOf(async (level, index, width) => {
    const tile = await store.tile(level, index)
    if (tile === undefined || tile.length < width * 32) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    return tile
  }, size)
}

/** Proves entries of the log as it is now. @throws PARAPET_AUDIT_LOG_NOT_FOUND the log is empty. */
export async function proveEntries(
  store: LogStore,
  entries: readonly PlacedEntry[],
): Promise<ProvenEntry[]> {
  const state = await store.state()
  if (state === null || state.size === 0) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
  const read = storedSubtrees(store, state.size)
  const proven: ProvenEntry[] = []
  for (const { index, leaf } of entries) {
    const hashes = await inclusionProof(read, index, state.size)
    const proof = hashes.map((hash) => Buffer.from(hash).toString('base64'))
    proven.push({ index, leaf, proof, checkpoint: state.note })
  }
  return proven
}

/** Proves that the log of `oldSize` is the beginning of the one of `newSize`. */
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

/** A record with its place. */
export interface AuditEntry {
  readonly index: number
  readonly record: AuditRecord
  /** The record's exact text, as the log hashes it. */
  readonly leaf: string
  /** The OCSF class that the action was given, for sinks. */
  readonly ocsf?: OcsfClass
}

/** Reads entries; one that is no record of ours is passed over, the verifier names it. */
export function toEntries(placed: readonly PlacedEntry[]): AuditEntry[] {
  return placed.flatMap(({ index, leaf }) => {
    const record = parseLeaf(leaf)
    return record === undefined ? [] : [{ index, record, leaf }]
  })
}
