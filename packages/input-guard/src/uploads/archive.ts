/** Limits what a ZIP archive unpacks to, while it arrives. Nothing unpacked is kept. */
import {
  PARAPET_INPUT_GUARD_MISSING_LIBRARY,
  PARAPET_INPUT_GUARD_UPLOAD_REFUSED,
} from '../errors.ts'
import type { ArchiveRules } from './rules.ts'
import type * as Library from 'fflate'

type Fflate = typeof Library

/** Reads an archive piece by piece. */
export interface ArchiveCheck {
  /** @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED a limit is reached, or a name leads out of the folder. */
  push(chunk: Uint8Array): void
  /** @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED the archive lists other entries than it contains. */
  end(): void
}

/** One piece unpacks to at most a thousand times as much, so pieces are small. */
const PIECE_BYTES = 1024
const FREE_BYTES = 1_048_576
const TAIL_BYTES = 65_557
const END_SIGNATURE = Buffer.from([0x50, 0x4b, 0x05, 0x06])
const ESCAPES = /(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[a-z]:|\0/i

/** Types of ZIP archives, such as office documents. */
export function isArchive(type: string): boolean {
  return (
    /^application\/(?:zip|java-archive|epub\+zip|vnd\.openxmlformats-|vnd\.oasis\.opendocument)/.test(
      type,
    ) || type.endsWith('+zip')
  )
}

export async function createArchiveCheck({
  maxEntries = 1000,
  maxRatio = 100,
  maxUnpackedBytes = 104_857_600,
}: ArchiveRules): Promise<ArchiveCheck> {
  const { Unzip, UnzipInflate } = await loadFflate()
  const unzip = new Unzip()
  let [packed, unpacked, entries] = [0, 0, 0]
  let tail = Buffer.alloc(0)
  unzip.register(UnzipInflate)
  unzip.onfile = (entry) => {
    if (++entries > maxEntries) refuse('the archive has too many entries')
    if (ESCAPES.test(entry.name)) refuse('the archive has an entry outside of its folder')
    entry.ondata = (error, chunk) => {
      if (error !== null) refuse('the archive is damaged')
      unpacked += chunk.length
      const isBomb = unpacked > FREE_BYTES && unpacked > packed * maxRatio
      if (isBomb || unpacked > maxUnpackedBytes) refuse('the archive unpacks to too much')
    }
    entry.start()
  }
  const push = (piece: Uint8Array, isLast: boolean) => {
    try {
      unzip.push(piece, isLast)
    } catch (error) {
      if (error instanceof PARAPET_INPUT_GUARD_UPLOAD_REFUSED) throw error
      refuse('the archive is damaged')
    }
  }
  return {
    push(chunk) {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        const piece = chunk.subarray(at, at + PIECE_BYTES)
        packed += piece.length
        push(piece, false)
      }
      tail = Buffer.concat([tail, chunk]).subarray(-TAIL_BYTES)
    },
    end() {
      push(new Uint8Array(), true)
      // Entries that overlap are listed more often than they are found one after the other.
      const end = tail.lastIndexOf(END_SIGNATURE)
      const listed = end === -1 || tail.length < end + 12 ? -1 : tail.readUInt16LE(end + 10)
      if (listed !== entries) refuse('the archive is damaged')
    },
  }
}

function refuse(problem: string): never {
  throw new PARAPET_INPUT_GUARD_UPLOAD_REFUSED(problem)
}

async function loadFflate(): Promise<Fflate> {
  try {
    return await import('fflate')
  } catch (cause) {
    const missing = new PARAPET_INPUT_GUARD_MISSING_LIBRARY('An upload of archives', 'fflate')
    throw Object.assign(missing, { cause })
  }
}
