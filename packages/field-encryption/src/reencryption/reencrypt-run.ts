/** Starts a re-encryption. It runs by itself and reports its progress to its readers. */
import { callOption } from '../call-options.ts'
import type { RowSource } from '../rows/row-source.ts'
import type { Importer } from './json-importer.ts'
import {
  reencryptRows,
  type FailedRow,
  type ReencryptPorts,
  type ReencryptProgress,
} from './reencrypt.ts'

/** The options of `Table.reencrypt`. */
export interface ReencryptOptions {
  readonly source: RowSource
  /** @default the tenant in each row, or else '' */
  readonly tenant?: string
  /** The cursor of the last {@link ReencryptProgress}, to resume. @default from the first row */
  readonly cursor?: string | null
  /** Rows of one batch, 1 to 10 000. @default 500 */
  readonly batchRows?: number
  /** Encrypts values that are still stored as plaintext. @default false: such a row counts as failed */
  readonly adoptPlaintext?: boolean
  /** Reads values that are encrypted in another format. */
  readonly importer?: Importer
  /** Ends the run after the current batch; `done` is then `false`. */
  readonly signal?: AbortSignal
}

/**
 * A running re-encryption. Awaited, it gives the last progress, with all failed rows (the first
 * 10 000). Rejects with the error of the source.
 */
export interface ReencryptRun extends Promise<ReencryptProgress> {
  /**
   * The progress of each batch, beside the run: a reader that is slower than the run gets the newest,
   * with the failed rows of those it missed, and one that stops does not stop the run.
   */
  readonly progress: AsyncIterable<ReencryptProgress>
  /** The same as `progress`. */
  [Symbol.asyncIterator](): AsyncIterator<ReencryptProgress>
}

/** The options of a re-encryption. */
export const reencryptTable = {
  source: callOption.object,
  tenant: callOption.name,
  cursor: callOption.any,
  batchRows: callOption.integer(1, 10_000),
  adoptPlaintext: callOption.boolean,
  importer: callOption.object,
  signal: callOption.object,
}

const MAX_FAILED = 10_000

/** Starts a re-encryption. */
export function startReencryption(options: ReencryptOptions, ports: ReencryptPorts): ReencryptRun {
  const readers = new Set<ProgressReader>()
  const run = runToEnd(options, ports, readers)
  const iterate = (): AsyncIterator<ReencryptProgress> => {
    const reader = new ProgressReader(run)
    readers.add(reader)
    return reader
  }
  return Object.assign(run, {
    progress: { [Symbol.asyncIterator]: iterate },
    [Symbol.asyncIterator]: iterate,
  })
}

async function runToEnd(
  options: ReencryptOptions,
  ports: ReencryptPorts,
  readers: ReadonlySet<ProgressReader>,
): Promise<ReencryptProgress> {
  // The caller gets the run, and may begin to read its progress, before the first batch.
  await Promise.resolve()
  const failed: FailedRow[] = []
  let last: ReencryptProgress = {
    cursor: options.cursor ?? null,
    total: null,
    read: 0,
    rewritten: 0,
    overtaken: 0,
    failed,
    done: false,
  }
  for await (const progress of reencryptRows(options, ports)) {
    last = progress
    if (failed.length < MAX_FAILED) failed.push(...progress.failed)
    if (!progress.done) for (const reader of readers) reader.tell(progress)
    if (options.signal?.aborted === true) break
  }
  return { ...last, failed: failed.slice(0, MAX_FAILED) }
}

/** One reader of the progress: it keeps the newest only, so that a slow one costs no memory. */
class ProgressReader implements AsyncIterator<ReencryptProgress> {
  #next: ReencryptProgress | undefined
  #wake: (() => void) | undefined
  #isOver = false
  readonly #run: Promise<unknown>

  constructor(run: Promise<unknown>) {
    this.#run = run
    const end = (): void => {
      this.#isOver = true
      this.#wake?.()
    }
    run.then(end, end)
  }

  tell(progress: ReencryptProgress): void {
    const missed = this.#next?.failed ?? []
    this.#next = { ...progress, failed: [...missed, ...progress.failed].slice(0, MAX_FAILED) }
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<ReencryptProgress>> {
    while (this.#next === undefined) {
      if (this.#isOver) {
        // Rejects with the error of the run.
        await this.#run
        return { done: true, value: undefined }
      }
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    const value = this.#next
    this.#next = undefined
    return { done: false, value }
  }
}
