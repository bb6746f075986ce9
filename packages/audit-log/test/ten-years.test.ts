import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { plainNode, runs } from '@parapet/testing'
import { uuidV7 } from '@parapet/kit'
import t from 'tap'
import { formatState } from '../src/directory/state.ts'
import { formatCheckpoint } from '../src/log/checkpoint.ts'
import { leafHash } from '../src/log/merkle-tree.ts'
import { createNoteKey, signNote } from '../src/log/signed-note.ts'
import { encodeBundle, tilePath } from '../src/log/tiles.ts'
import { TreeEdge } from '../src/log/tree-edge.ts'
import { canonicalize } from '../src/record/canonical-json.ts'
import { deriveWriterSecret, WriterKey } from '../src/trust/writer-key.ts'
import { ORIGIN, useFolder } from './support.ts'

/** One checkpoint with one entry each second, for ten years. */
const SECONDS = 10 * 365 * 86_400 + 100
const LINE_BYTES = 202
const FULL_BYTES = 16 * 1024 * 1024
const LINES = Math.floor(FULL_BYTES / LINE_BYTES)
const WIDTH = 256
/** The promise of the package, measured under the soak switch only. */
const MAX_START_MS = 2000
const MAX_RSS_BYTES = 150 * 1024 * 1024

/** What the app prints that starts on the folder. */
interface Started {
  readonly startMs: number
  readonly rssBytes: number
  readonly size: number
}

const run = promisify(execFile)
const APP = new URL('ten-years-app.ts', import.meta.url).pathname

async function startOn(folder: string): Promise<Started> {
  const [file, args] = plainNode([APP, folder])
  const { stdout } = await run(file, args)
  return JSON.parse(stdout) as Started
}

function recordOf(index: number): string {
  const writer = 'a'.repeat(16)
  const record = { action: 'thing.act', id: uuidV7(), result: 'success', seq: index, v: 1, writer }
  return canonicalize({ ...record, time: Date.now() - 1000 })
}

function put(path: string, bytes: Buffer | string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, bytes, { mode: 0o600 })
}

/** The right edge of a tree of that size; the hashes of full tiles stand for entries long ago. */
function edgeOf(size: number, leaves: readonly string[]): Buffer[] {
  const edge = [Buffer.concat(leaves.map((leaf) => leafHash(Buffer.from(leaf))))]
  for (let row = Math.floor(size / WIDTH); row > 0; row = Math.floor(row / WIDTH)) {
    edge.push(randomBytes((row % WIDTH) * 32))
  }
  return edge
}

/** Writes what a start and a step of the log read; the files of earlier years have no blocks on disk. */
async function writeLog(folder: string, size: number, fullFiles: number): Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  put(join(folder, 'key.pem'), String(privateKey.export({ format: 'pem', type: 'pkcs8' })))
  const log = join(folder, 'log')
  const first = size - (size % WIDTH)
  const leaves = Array.from({ length: size - first }, (_, at) => recordOf(first + at))
  put(join(log, tilePath('entries', first / WIDTH, leaves.length)), encodeBundle(leaves))
  const edge = edgeOf(size, leaves)
  for (const [level, hashes] of edge.entries()) {
    const width = hashes.length / 32
    const index = Math.floor(size / WIDTH ** (level + 1))
    if (width > 0) put(join(log, tilePath(level, index, width)), hashes)
  }
  const root = new TreeEdge(size, edge).root()
  const key = createNoteKey(ORIGIN, publicKey)
  const body = formatCheckpoint({ origin: ORIGIN, size, root, previous: size - 1 })
  const note = await signNote(body, key, (bytes) => sign(null, bytes, privateKey))
  const writerKey = new WriterKey(ORIGIN, [deriveWriterSecret(privateKey)])
  const writers = new Map(Array.from({ length: 1000 }, (_, n) => [`${n}`.padStart(16, 'a'), n]))
  const state = { origin: ORIGIN, size, root, edge, minIndex: 0, note }
  put(join(log, 'state.json'), formatState(state, writers, writerKey))
  put(join(log, 'cursors/alerts'), `${size} ${writerKey.macOf('cursor', `alerts\n${size}`)}`)
  put(join(folder, 'seen.json'), JSON.stringify({ size, root: root.toString('base64') }))
  for (let file = 1; file <= fullFiles; file++) {
    const name = String(file * LINES).padStart(16, '0')
    writeSparse(join(log, 'checkpoints', `${name}.ndjson`), file * LINES)
  }
  writeSparse(join(log, 'checkpoints.ndjson'), size - 1)
}

/** A file of the full size, of which only the last line is on disk. */
function writeSparse(path: string, size: number): void {
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'w', 0o600)
  const line = `\n${JSON.stringify({ size, note: 'x'.repeat(LINE_BYTES - 60) })}\n`
  ftruncateSync(file, FULL_BYTES - 64 * 1024)
  writeSync(file, line, FULL_BYTES - 64 * 1024 - line.length)
  closeSync(file)
}

await t.test('a log of ten years starts as a new one does', async (t) => {
  const full = runs(0, 1) === 1
  const files = runs(3, Math.floor(SECONDS / LINES))
  const folder = useFolder(t)
  await writeLog(folder, SECONDS, files)
  const empty = await startOn(useFolder(t))
  t.equal(empty.size, 2)
  const old = await startOn(folder)
  t.equal(old.size, SECONDS + 2, 'a record was added to the old log')
  t.comment(JSON.stringify({ files, empty, old }))
  if (!full) return
  t.ok(old.startMs <= MAX_START_MS, `${old.startMs} ms`)
  t.ok(old.rssBytes <= MAX_RSS_BYTES, `${old.rssBytes} bytes`)
})
