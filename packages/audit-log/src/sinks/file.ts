/** A sink for NDJSON files with rotation. */
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { escapeJson } from '../formats/controls.ts'
import type { AuditSink } from '../log/sink.ts'

/** Path and rotation. */
export interface FileTarget {
  /** The name of the sink. @default 'file' */
  readonly name?: string
  readonly path: string
  /** The size at which a file is rotated. @default 104_857_600 (100 MiB) */
  readonly maxBytes?: number
  /** The number of files including the current one; the oldest is removed. @default 30 */
  readonly keep?: number
}

const MAX_BYTES = 100 * 1024 * 1024
const KEEP = 30
const PRIVATE_FILE = 0o600
const LINE_BREAK = 10

/** Writes index and record as NDJSON. Rotated files are `path.1` (the newest) to `path.<keep - 1>`. */
export function fileSink(target: FileTarget): AuditSink {
  const { path, maxBytes = MAX_BYTES, keep = KEEP } = target
  let file: FileHandle | undefined
  let bytes = 0

  async function append(chunk: string): Promise<void> {
    if (file === undefined) {
      await mkdir(dirname(path), { recursive: true })
      file = await open(path, 'a', PRIVATE_FILE)
      bytes = (await file.stat()).size
      if (bytes > 0 && !(await endsWithBreak(path, bytes))) await file.appendFile('\n')
    }
    await file.appendFile(chunk)
    bytes += Buffer.byteLength(chunk)
  }

  async function rotate(): Promise<void> {
    await file?.datasync()
    await file?.close()
    file = undefined
    await rm(`${path}.${keep - 1}`, { force: true })
    for (let number = keep - 2; number >= 1; number--) {
      if (await exists(`${path}.${number}`)) {
        await rename(`${path}.${number}`, `${path}.${number + 1}`)
      }
    }
    if (keep > 1) await rename(path, `${path}.1`)
    else await rm(path, { force: true })
  }

  /** Another program may have rotated or removed the file, and an open descriptor outlives it. */
  async function reopen(): Promise<void> {
    if (file === undefined) return
    const [own, named] = await Promise.all([file.stat(), stat(path).catch(() => undefined)])
    if (own.ino === named?.ino) return
    await file.close()
    file = undefined
    bytes = 0
  }

  return {
    name: target.name ?? 'file',
    async deliver(entries) {
      try {
        await reopen()
        for (const { index, leaf } of entries) {
          const line = `{"index":${index},"record":${escapeJson(leaf)}}\n`
          if (bytes > 0 && bytes + Buffer.byteLength(line) > maxBytes) await rotate()
          await append(line)
        }
        await file?.datasync()
      } catch (error) {
        // The next delivery opens the file again and ends a line that a full disk truncated.
        await file?.close().catch(() => {})
        file = undefined
        throw error
      }
    },
    async close() {
      await file?.close()
      file = undefined
    },
  }
}

/** If not, a crash or a full disk truncated the last line, and the next record needs a new line. */
async function endsWithBreak(path: string, bytes: number): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, bytes - 1)
    return buffer[0] === LINE_BREAK
  } finally {
    await file.close()
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
