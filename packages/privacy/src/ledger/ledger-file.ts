/** A ledger in a file, for a service that runs as one process. */
import { createReadStream } from 'node:fs'
import { mkdir, open, stat, truncate } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import type { Ledger } from './ledger.ts'

const BATCH = 1000

/**
 * Makes a ledger in a file. Each entry is synced to the disk before `append` resolves. A line that a
 * crash cut off is removed with the next append: its erasure had not begun.
 *
 * @param path of a file outside the folders that a restore brings back; created with mode 0600.
 */
export function createFileLedger(path: string): Ledger {
  let last: Promise<unknown> = Promise.resolve()
  const append = async (line: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await dropTornLine(path)
    const file = await open(path, 'a', 0o600)
    try {
      await file.appendFile(`${line}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
  }
  return {
    append(_id, line) {
      const appended = last.then(() => append(line))
      last = appended.catch(() => {})
      return appended
    },
    async *read() {
      await last
      const end = await lengthOfWholeLines(path)
      if (end === 0) return
      const input = createReadStream(path, { end: end - 1 })
      let batch: string[] = []
      for await (const line of createInterface({ input, crlfDelay: Infinity })) {
        batch.push(line)
        if (batch.length < BATCH) continue
        yield batch
        batch = []
      }
      if (batch.length > 0) yield batch
    },
  }
}

async function dropTornLine(path: string): Promise<void> {
  const [end, size] = [await lengthOfWholeLines(path), await sizeOf(path)]
  if (end < size) await truncate(path, end)
}

/** Up to and with the last line end. */
async function lengthOfWholeLines(path: string): Promise<number> {
  const size = await sizeOf(path)
  if (size === 0) return 0
  const file = await open(path, 'r')
  try {
    const tail = Buffer.alloc(Math.min(size, 4096))
    await file.read(tail, 0, tail.length, size - tail.length)
    return size - tail.length + tail.lastIndexOf(0x0a) + 1
  } finally {
    await file.close()
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}
