/** Limits what a ZIP archive or a gzip file unpacks to. Nothing unpacked is kept. */
import { open, type FileHandle } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createInflateRaw, type Gunzip, type InflateRaw } from 'node:zlib'
import { PARAPET_INPUT_GUARD_UPLOAD_REFUSED } from '../errors.ts'
import type { ArchiveRules } from './rules.ts'
import { readZipEntries } from './zip-directory.ts'

/** How the content of an archive is packed. */
export type ArchiveKind = 'zip' | 'gzip'

const ZIP_BEGINNINGS = ['PK\u0003\u0004', 'PK\u0005\u0006', 'PK\u0007\u0008']
const FREE_BYTES = 1_048_576

/** The kind of archive that a file is by its first bytes, whatever its media type: office documents and APKs are ZIP. */
export function archiveKindOf(sample: Buffer): ArchiveKind | undefined {
  const magic = sample.toString('latin1', 0, 4)
  if (ZIP_BEGINNINGS.includes(magic)) return 'zip'
  return magic.startsWith('\u001f\u008b') ? 'gzip' : undefined
}

/**
 * Checks a stored archive.
 *
 * @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED a limit is reached, a name leads out of the folder, or its directory
 *   lists other entries than it contains.
 */
export async function checkArchive(
  path: string,
  kind: ArchiveKind,
  bytes: number,
  rules: ArchiveRules,
): Promise<void> {
  const { maxEntries = 1000, maxRatio = 100, maxUnpackedBytes = 104_857_600 } = rules
  const most = Math.min(maxUnpackedBytes, Math.max(FREE_BYTES, bytes * maxRatio))
  const file = await open(path, 'r')
  try {
    if (kind === 'gzip') {
      await unpack(file, createGunzip(), [0, bytes], most)
      return
    }
    let left = most
    for (const { isDeflated, start, packed, unpacked } of await readZipEntries(
      file,
      bytes,
      maxEntries,
    )) {
      left -= unpacked
      if (left < 0) tooMuch()
      if (!isDeflated) continue
      const found = await unpack(file, createInflateRaw(), [start, packed], unpacked)
      if (found !== unpacked) refuse('the archive is damaged')
    }
  } finally {
    await file.close()
  }
}

/** Unpacks a part of a file. @returns the number of unpacked bytes, at most `most` */
async function unpack(
  file: FileHandle,
  inflate: Gunzip | InflateRaw,
  [start, packed]: readonly [number, number],
  most: number,
): Promise<number> {
  if (packed === 0) refuse('the archive is damaged')
  let unpacked = 0
  const source = file.createReadStream({ start, end: start + packed - 1, autoClose: false })
  try {
    await pipeline(source, inflate, async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) {
        unpacked += chunk.length
        if (unpacked > most) tooMuch()
      }
    })
  } catch (error) {
    // The stream may report that it was closed instead of why.
    if (unpacked > most) tooMuch()
    throw Object.assign(new PARAPET_INPUT_GUARD_UPLOAD_REFUSED('the archive is damaged'), {
      cause: error,
    })
  }
  // Bytes behind the end are no part of what extractors see.
  if (inflate.bytesWritten < packed) refuse('the archive is damaged')
  return unpacked
}

function tooMuch(): never {
  refuse('the archive unpacks to too much')
}

function refuse(problem: string): never {
  throw new PARAPET_INPUT_GUARD_UPLOAD_REFUSED(problem)
}
