/**
 * The checkpoints of a directory: `checkpoint` (the latest), `checkpoints.ndjson` (the newest), and
 * `checkpoints/` (full files, each named for the size of its last checkpoint).
 */
import { mkdir, open, readdir, rename, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import type { LogState, StoredCheckpoint } from '../log/log-store.ts'
import { syncFolder, type Files } from '../wal/files.ts'

const CURRENT = 'checkpoints.ndjson'
const FULL = 'checkpoints'
const FULL_NAME = /^\d{16}\.ndjson$/
const SIZE_DIGITS = 16
/** The size at which a file is full. */
const MAX_BYTES = 16 * 1024 * 1024
/** More than the longest line: a note has at most the signatures of this log. */
const TAIL_BYTES = 64 * 1024
const READ_BYTES = 256 * 1024
const MAX_LINE_CHARS = 2 * 1024 * 1024
const PRIVATE_FOLDER = 0o700

/** Neither a start nor a step reads more than the end of one file, however old the log is. */
export class DirectoryCheckpoints {
  readonly #folder: string
  readonly #files: Files
  #lastSize: number | undefined
  #bytes = 0

  constructor(folder: string, files: Files) {
    this.#folder = folder
    this.#files = files
  }

  /** Every checkpoint, oldest first; a part of one file is in memory at a time. */
  async *list(): AsyncGenerator<StoredCheckpoint> {
    let last = ''
    // A running log may fill further files in the meantime.
    for (let names = await this.#fullNames(); names.length > 0;) {
      for (const name of names) yield* readLines(join(this.#folder, name))
      last = names.at(-1)!
      names = (await this.#fullNames()).filter((name) => name > last)
    }
    yield* readLines(join(this.#folder, CURRENT))
  }

  /** Publishes the checkpoint of a committed state, unless it was published before. */
  async add({ size, note }: LogState): Promise<void> {
    if (size === 0) return
    await this.#files.replace('checkpoint', note)
    this.#lastSize ??= await this.#readLastSize()
    if (this.#lastSize >= size) return
    if (this.#bytes >= MAX_BYTES) await this.#rotate(this.#lastSize)
    this.#lastSize = size
    // The leading line break ends a line that a crash or a full disk truncated.
    const line = `\n${JSON.stringify({ size, note })}\n`
    await this.#files.append(CURRENT, line)
    this.#bytes += line.length
  }

  async #rotate(lastSize: number): Promise<void> {
    await mkdir(join(this.#folder, FULL), { recursive: true, mode: PRIVATE_FOLDER })
    const name = join(FULL, `${String(lastSize).padStart(SIZE_DIGITS, '0')}.ndjson`)
    await rename(join(this.#folder, CURRENT), join(this.#folder, name))
    await syncFolder(join(this.#folder, FULL))
    this.#bytes = 0
  }

  /** Reads the end of the newest file that has a whole line. */
  async #readLastSize(): Promise<number> {
    const path = join(this.#folder, CURRENT)
    this.#bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    )
    const found = (await readTail(path, this.#bytes)).split('\n').flatMap(parseLine).at(-1)
    if (found !== undefined) return found.size
    const newest = (await this.#fullNames()).at(-1)
    return newest === undefined ? 0 : Number(/\d{16}/.exec(newest)![0])
  }

  async #fullNames(): Promise<string[]> {
    const names = await readdir(join(this.#folder, FULL)).catch(() => [])
    return names
      .filter((name) => FULL_NAME.test(name))
      .toSorted()
      .map((name) => join(FULL, name))
  }
}

async function* readLines(path: string): AsyncGenerator<StoredCheckpoint> {
  const file = await openIfExists(path)
  if (file === undefined) return
  try {
    const buffer = Buffer.alloc(READ_BYTES)
    let rest = ''
    const decoder = new StringDecoder('utf8')
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES)
      if (bytesRead === 0) break
      const lines = (rest + decoder.write(buffer.subarray(0, bytesRead))).split('\n')
      rest = lines.pop()!
      // No checkpoint is that long: this is damage, and the next line break ends it.
      if (rest.length > MAX_LINE_CHARS) rest = ''
      for (const line of lines) yield* parseLine(line)
    }
    yield* parseLine(rest)
  } finally {
    await file.close()
  }
}

async function openIfExists(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function readTail(path: string, bytes: number): Promise<string> {
  if (bytes === 0) return ''
  const file = await open(path, 'r')
  try {
    const length = Math.min(bytes, TAIL_BYTES)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, bytes - length)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** A truncated line is skipped; it was written again by the next start. */
function parseLine(line: string): StoredCheckpoint[] {
  try {
    const { size, note } = JSON.parse(line) as StoredCheckpoint
    return Number.isSafeInteger(size) && typeof note === 'string' ? [{ size, note }] : []
  } catch {
    return []
  }
}
