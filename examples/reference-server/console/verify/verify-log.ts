/**
 * Verifies the audit log in the browser: nothing that the server says about its own log is believed but
 * what a hash or a signature shows.
 */
import { areEqual, toBase64, type Bytes } from './bytes.ts'
import { canonicalize } from './canonical-json.ts'
import { leafHash, rangeHash, type SubtreeReader, type Tree } from './merkle.ts'
import { openCheckpoint, readVerifierKey, type Checkpoint } from './signed-note.ts'
import { subtreesOf, TileError, type TileFetcher } from './tiles.ts'

/** What the log publishes about itself. */
export interface LogSource {
  readonly key: string
  /** A signed note. */
  readonly checkpoint: string
  readonly fetchTile: TileFetcher
}

/** The last tree that this browser has verified. */
export interface RememberedTree {
  readonly key: string
  readonly size: number
  /** base64 */
  readonly root: string
  /** A person has compared the key with the one that the operator published. */
  readonly isTrusted?: boolean
}

/** One check and its result. */
export interface Check {
  readonly name:
    | 'key'
    | 'signature'
    | 'root'
    | 'consistency'
    | 'inclusion'
    | 'completeness'
    | 'entries'
  readonly passed: boolean
  readonly text: string
}

/** A record as the server returned it. */
export interface PlacedRecord {
  readonly index: number
  readonly record: unknown
}

/** A log whose checkpoint was verified. */
export interface VerifiedLog {
  readonly checkpoint: Checkpoint
  readonly read: SubtreeReader
  /** To remember for the next time. */
  readonly tree: RememberedTree
}

/** Verifies key, signature, root, and that the log only grew since the last time. */
export async function verifyTree(
  source: LogSource,
  remembered: RememberedTree | undefined,
): Promise<{ readonly checks: readonly Check[]; readonly log?: VerifiedLog }> {
  const checks: Check[] = [checkKey(source.key, remembered)]
  const isKnownKey = remembered?.key === source.key
  const key = await readVerifierKey(source.key)
  const checkpoint = await openCheckpoint(source.checkpoint, key)
  if (checkpoint === undefined) {
    const text = 'The checkpoint is not signed by the key of the log.'
    return { checks: [...checks, { name: 'signature', passed: false, text }] }
  }
  const { size, root } = checkpoint
  const text = `Ed25519 signature over ${size} entries.`
  checks.push({ name: 'signature', passed: true, text })
  const read = subtreesOf(source.fetchTile, size)
  const rootCheck = await checkRoot(read, checkpoint)
  checks.push(rootCheck)
  if (isKnownKey && rootCheck.passed) checks.push(await checkConsistency(read, remembered, size))
  const isTrusted = isKnownKey && remembered.isTrusted === true
  const tree = { key: source.key, size, root: toBase64(root), isTrusted }
  return { checks, log: { checkpoint, read, tree } }
}

function checkKey(key: string, remembered: RememberedTree | undefined): Check {
  if (remembered === undefined) {
    const text = `This browser sees the key for the first time: ${key}`
    return { name: 'key', passed: true, text }
  }
  if (remembered.key !== key) {
    const text = `This browser knows another key of this log. Compare the new one with the one that the operator published: ${key}`
    return { name: 'key', passed: false, text }
  }
  const text = remembered.isTrusted
    ? 'The key is the one that was compared before.'
    : `The key is the one of the last time, but nobody has compared it yet: ${key}`
  return { name: 'key', passed: true, text }
}

async function checkRoot(read: SubtreeReader, { size, root }: Tree): Promise<Check> {
  if (size === 0) return { name: 'root', passed: true, text: 'The log has no entry yet.' }
  const computed = await hashOf(() => rangeHash(read, 0, size))
  const passed = computed !== undefined && areEqual(computed, root)
  const text = passed
    ? 'The tiles hash to the signed root.'
    : 'The stored hashes do not lead to the signed root: tiles were edited or removed.'
  return { name: 'root', passed, text }
}

/** The tiles lead to the signed root, so they also have the root of every smaller tree. */
async function checkConsistency(
  read: SubtreeReader,
  remembered: RememberedTree,
  size: number,
): Promise<Check> {
  const old = remembered.size
  if (old > size) {
    const text = `The log had ${old} entries when it was last seen, and has ${size} now: its end was cut off, or this is an old checkpoint.`
    return { name: 'consistency', passed: false, text }
  }
  const computed = old === 0 ? undefined : await hashOf(() => rangeHash(read, 0, old))
  const passed = old === 0 || (computed !== undefined && toBase64(computed) === remembered.root)
  const text = passed
    ? `It continues the ${old} entries that this browser saw before.`
    : 'It does not continue what this browser saw before: the log was rewritten.'
  return { name: 'consistency', passed, text }
}

/** `undefined`: a tile is missing or was edited. Other failures, such as those of the network, say nothing. */
async function hashOf(compute: () => Promise<Bytes>): Promise<Bytes | undefined> {
  try {
    return await compute()
  } catch (error) {
    if (error instanceof TileError) return undefined
    throw error
  }
}

/**
 * Verifies that each record, as it was received, is in the signed tree at its index.
 *
 * @returns the result by index; a record that is absent is not signed yet
 */
export async function verifyRecords(
  { checkpoint, read }: VerifiedLog,
  records: readonly PlacedRecord[],
): Promise<ReadonlyMap<number, boolean>> {
  const results = await Promise.all(
    records
      .filter(({ index }) => !(index >= checkpoint.size))
      .map(async ({ index, record }): Promise<[number, boolean]> => {
        if (!Number.isSafeInteger(index) || index < 0) return [index, false]
        const known = await hashOf(() => read(0, index))
        const hash = await leafHash(canonicalize(record))
        return [index, known !== undefined && areEqual(known, hash)]
      }),
  )
  return new Map(results)
}
