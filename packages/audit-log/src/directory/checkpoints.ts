/** The checkpoints of a directory: `checkpoint` (the latest) and `checkpoints.ndjson` (all). */
import type { LogState, StoredCheckpoint } from '../log/log-store.ts'
import type { Files } from '../wal/files.ts'

/** Reads and appends checkpoints. */
export class DirectoryCheckpoints {
  readonly #files: Files
  #lastSize: number | undefined

  constructor(files: Files) {
    this.#files = files
  }

  /** Checkpoints with a size above `after`, in order. */
  async list(after: number, limit: number): Promise<StoredCheckpoint[]> {
    const text = (await this.#files.read('checkpoints.ndjson'))?.toString() ?? ''
    return text
      .split('\n')
      .flatMap(parseLine)
      .filter(({ size }) => size > after)
      .toSorted((a, b) => a.size - b.size)
      .slice(0, limit)
  }

  /** Publishes the checkpoint of a committed state, unless it was published before. */
  async add({ size, note }: LogState): Promise<void> {
    if (size === 0) return
    await this.#files.replace('checkpoint', note)
    this.#lastSize ??= (await this.list(-1, Number.MAX_SAFE_INTEGER)).at(-1)?.size ?? 0
    if (this.#lastSize >= size) return
    this.#lastSize = size
    // The leading line break ends a line that a crash or a full disk truncated.
    await this.#files.append('checkpoints.ndjson', `\n${JSON.stringify({ size, note })}\n`)
  }
}

/** A truncated line is skipped; the signed notes around it still cover its entries. */
function parseLine(line: string): StoredCheckpoint[] {
  try {
    const { size, note } = JSON.parse(line) as StoredCheckpoint
    return Number.isSafeInteger(size) && typeof note === 'string' ? [{ size, note }] : []
  } catch {
    return []
  }
}
