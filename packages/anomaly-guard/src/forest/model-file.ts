/**
 * The binary format of a forest, described in docs/spec/anomaly-model.md. It contains splits and counts,
 * never a row. The checksum finds damage; it does not prove who wrote the file.
 */
import { createHash } from 'node:crypto'
import { PARAPET_ANOMALY_GUARD_INVALID_MODEL } from '../errors.ts'
import { IsolationForest } from './forest.ts'
import { createTreeSet, fillMeans, writeLeaf, writeSplit } from './tree-set.ts'
import type { TreeSet } from './types.ts'

const MAGIC = 0x50_41_49_46
const VERSION = 1
const LEAF = 0xff_ff
const CHECKSUM_BYTES = 32
const MAX_DEPTH = 16
/** What a damaged or hostile file can make the reader allocate: about 130 MB. */
const MAX_NODES = 2 ** 22
const MAX_NOTES_BYTES = 2 ** 20

/** A forest and what belongs to it. */
export interface ForestFile {
  readonly forest: IsolationForest
  /** JSON of the caller's own: names of features, the threshold. */
  readonly notes: unknown
}

/** Writes a forest; the same forest gives the same bytes. */
export function writeForest({ forest, notes }: ForestFile): Uint8Array {
  const json = Buffer.from(JSON.stringify(notes))
  const body = forest.sets.reduce((sum, set) => sum + bytesOf(set), 0)
  const bytes = Buffer.alloc(14 + json.length + body + CHECKSUM_BYTES)
  let at = bytes.writeUInt32BE(MAGIC, 0)
  at = bytes.writeUInt16BE(VERSION, at)
  at = bytes.writeUInt16BE(forest.features, at)
  at = bytes.writeUInt16BE(forest.sets.length, at)
  at = bytes.writeUInt32BE(json.length, at)
  at += json.copy(bytes, at)
  for (const set of forest.sets) at = writeSet(set, bytes, at)
  createHash('sha256').update(bytes.subarray(0, at)).digest().copy(bytes, at)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** @throws PARAPET_ANOMALY_GUARD_INVALID_MODEL the bytes are no such file, of another version or damaged. */
export function readForest(input: Uint8Array): ForestFile {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  const end = bytes.length - CHECKSUM_BYTES
  if (end < 14 || bytes.readUInt32BE(0) !== MAGIC) throw invalid('it is not a saved forest')
  const version = bytes.readUInt16BE(4)
  if (version !== VERSION) throw invalid(`its version is ${version}, expected ${VERSION}`)
  const expected = createHash('sha256').update(bytes.subarray(0, end)).digest()
  if (!expected.equals(bytes.subarray(end))) throw invalid('its checksum is wrong, it is damaged')
  try {
    return readBody(bytes.subarray(0, end))
  } catch (error) {
    if (error instanceof PARAPET_ANOMALY_GUARD_INVALID_MODEL) throw error
    // Reading behind the end of the buffer, or JSON that is none.
    throw invalid('its content is malformed')
  }
}

function readBody(bytes: Buffer): ForestFile {
  const features = bytes.readUInt16BE(6)
  const setCount = bytes.readUInt16BE(8)
  const notesLength = bytes.readUInt32BE(10)
  if (features === 0 || notesLength > MAX_NOTES_BYTES) throw invalid('its header is malformed')
  const cursor: Cursor = { bytes, at: 14 + notesLength, features, nodes: 0 }
  const notes: unknown = JSON.parse(bytes.toString('utf8', 14, cursor.at))
  const sets = Array.from({ length: setCount }, () => readSet(cursor))
  if (sets.length === 0 || cursor.at !== bytes.length) throw invalid('its length is wrong')
  return { forest: new IsolationForest(features, sets), notes }
}

interface Cursor {
  readonly bytes: Buffer
  readonly features: number
  at: number
  nodes: number
}

function bytesOf(set: TreeSet): number {
  let sum = 9
  for (let tree = 0; tree < set.trees; tree++) {
    sum += 4
    visitNodes(set, tree, 1, 0, () => {
      sum += 6
    })
  }
  return sum
}

function writeSet(set: TreeSet, bytes: Buffer, start: number): number {
  let at = bytes.writeUInt32BE(set.trees, start)
  at = bytes.writeUInt32BE(set.sampleSize, at)
  at = bytes.writeUInt8(set.depth, at)
  const size = 2 ** set.depth
  for (let tree = 0; tree < set.trees; tree++) {
    at = bytes.writeUInt32BE(set.sampleRows[tree]!, at)
    visitNodes(set, tree, 1, 0, (node, isLeaf) => {
      at = bytes.writeUInt16BE(isLeaf ? LEAF : set.feature[tree * size + node]!, at)
      at = isLeaf
        ? bytes.writeUInt32BE(set.count[tree * size * 2 + node]!, at)
        : bytes.writeFloatBE(set.threshold[tree * size + node]!, at)
    })
  }
  return at
}

function visitNodes(
  set: TreeSet,
  tree: number,
  node: number,
  level: number,
  visit: (node: number, isLeaf: boolean) => void,
): void {
  const isLeaf = level === set.depth || set.threshold[tree * 2 ** set.depth + node] === Infinity
  visit(node, isLeaf)
  if (isLeaf) return
  visitNodes(set, tree, 2 * node, level + 1, visit)
  visitNodes(set, tree, 2 * node + 1, level + 1, visit)
}

function readSet(cursor: Cursor): TreeSet {
  const { bytes } = cursor
  const trees = bytes.readUInt32BE(cursor.at)
  const sampleSize = bytes.readUInt32BE(cursor.at + 4)
  const depth = bytes.readUInt8(cursor.at + 8)
  cursor.at += 9
  cursor.nodes += trees * 2 ** depth
  if (trees === 0 || sampleSize === 0 || depth === 0 || depth > MAX_DEPTH) {
    throw invalid('the header of its trees is malformed')
  }
  if (cursor.nodes > MAX_NODES) throw invalid('it has too many nodes')
  const set = createTreeSet(trees, sampleSize, depth)
  for (let tree = 0; tree < trees; tree++) {
    set.sampleRows[tree] = bytes.readUInt32BE(cursor.at)
    cursor.at += 4
    readNode(cursor, set, { tree, node: 1, level: 0 })
    fillMeans(set, tree)
  }
  return set
}

/** @returns how many rows reached the node. */
function readNode(
  cursor: Cursor,
  set: TreeSet,
  place: { readonly tree: number; readonly node: number; readonly level: number },
): number {
  const { tree, node, level } = place
  const { bytes, at } = cursor
  const feature = bytes.readUInt16BE(at)
  cursor.at += 6
  if (feature === LEAF) {
    const rows = bytes.readUInt32BE(at + 2)
    if (rows === 0) throw invalid('it has a leaf without rows')
    writeLeaf(set, tree, { node, level, rows })
    return rows
  }
  const threshold = bytes.readFloatBE(at + 2)
  if (feature >= cursor.features || level >= set.depth || !Number.isFinite(threshold)) {
    throw invalid('it has a malformed split')
  }
  const left = readNode(cursor, set, { tree, node: 2 * node, level: level + 1 })
  const rows = left + readNode(cursor, set, { tree, node: 2 * node + 1, level: level + 1 })
  writeSplit(set, tree, { node, rows, feature, threshold })
  return rows
}

function invalid(why: string): Error {
  return new PARAPET_ANOMALY_GUARD_INVALID_MODEL(why)
}
