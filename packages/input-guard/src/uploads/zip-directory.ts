/**
 * Reads the directory of a ZIP archive, which is what extractors follow, and compares it with the entries
 * themselves. @see APPNOTE.TXT of PKWARE, sections 4.3 and 4.4
 */
import type { FileHandle } from 'node:fs/promises'
import { PARAPET_INPUT_GUARD_UPLOAD_REFUSED } from '../errors.ts'

/** An entry whose two headers say the same. */
export interface ZipEntry {
  readonly isDeflated: boolean
  /** Where its packed bytes begin. */
  readonly start: number
  readonly packed: number
  readonly unpacked: number
}

/** What the directory says of an entry. */
interface Listed {
  readonly name: string
  readonly flags: number
  readonly method: number
  readonly packed: number
  readonly unpacked: number
  readonly offset: number
}

const END = Buffer.from('PK\u0005\u0006')
const END_BYTES = 22
const MAX_COMMENT = 65_535
const ZIP64_LOCATOR = 0x07_06_4b_50
const LISTED_SIGNATURE = 0x02_01_4b_50
const LOCAL_SIGNATURE = 0x04_03_4b_50
/** Headers, names and extra fields; so much of a directory is read at once. */
const MAX_DIRECTORY_BYTES = 16_777_216
const [ENCRYPTED, HAS_DESCRIPTOR] = [0x20_41, 0x8]
/** With and without a signature, with 32 and 64 bits. */
const DESCRIPTOR_BYTES = [12, 16, 20, 24]
const IN_ZIP64_FIELD = 0xff_ff_ff_ff
/** A field with another name for the entry, which some extractors prefer. */
const UNICODE_PATH = 0x70_75
const UNIX = 3
const SYMBOLIC_LINK = 0xa
const ESCAPES = /(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[a-z]:|\0/i
/** APK archives are signed between the entries and the directory. */
const APK_SIGNATURE = 'APK Sig Block 42'

/** @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED extractors could see other entries than the ones that are returned. */
export async function readZipEntries(
  file: FileHandle,
  bytes: number,
  maxEntries: number,
): Promise<ZipEntry[]> {
  const { listed, offset } = await readDirectory(file, bytes, maxEntries)
  const entries: ZipEntry[] = []
  let end = 0
  let afterDescriptor = [0]
  for (const each of listed.toSorted((a, b) => a.offset - b.offset)) {
    // Each entry begins where the one before ends, so nothing overlaps and nothing is hidden.
    if (!afterDescriptor.some((extra) => end + extra === each.offset)) refuseHidden()
    const start = await compareLocal(file, each)
    entries.push({ ...each, isDeflated: each.method === 8, start })
    end = start + each.packed
    afterDescriptor = (each.flags & HAS_DESCRIPTOR) === 0 ? [0] : DESCRIPTOR_BYTES
  }
  if (end > offset) refuseHidden()
  if (afterDescriptor.some((extra) => end + extra === offset)) return entries
  const gap = await read(file, Math.max(end, offset - 16), 16)
  if (gap.toString('latin1') !== APK_SIGNATURE) refuseHidden()
  return entries
}

async function readDirectory(file: FileHandle, bytes: number, maxEntries: number) {
  const tailBytes = Math.min(bytes, END_BYTES + MAX_COMMENT)
  const tail = await read(file, bytes - tailBytes, tailBytes)
  const at = tail.lastIndexOf(END)
  if (at === -1 || at + END_BYTES > tail.length) refuse('the archive is damaged')
  // A second end in the comment would be the end for some extractors.
  if (at + END_BYTES + tail.readUInt16LE(at + 20) !== tail.length) refuse('the archive is damaged')
  if (at >= 20 && tail.readUInt32LE(at - 20) === ZIP64_LOCATOR) refuse('the archive is Zip64')
  const count = tail.readUInt16LE(at + 10)
  if (count > maxEntries) refuse('the archive has too many entries')
  const [size, offset] = [tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)]
  const isWhole = offset + size === bytes - tailBytes + at && tail.readUInt32LE(at + 4) === 0
  if (!isWhole || tail.readUInt16LE(at + 8) !== count) refuse('the archive is damaged')
  if (size > MAX_DIRECTORY_BYTES) refuse('the archive has too many entries')
  const listed = parseDirectory(await read(file, offset, size), count)
  if (new Set(listed.map(({ name }) => name)).size < count) {
    refuse('the archive has two entries of one name')
  }
  return { listed, offset }
}

function parseDirectory(directory: Buffer, count: number): Listed[] {
  const listed: Listed[] = []
  let at = 0
  for (; listed.length < count;) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== LISTED_SIGNATURE) {
      refuse('the archive is damaged')
    }
    const nameEnd = at + 46 + directory.readUInt16LE(at + 28)
    const extraEnd = nameEnd + directory.readUInt16LE(at + 30)
    const next = extraEnd + directory.readUInt16LE(at + 32)
    if (next > directory.length) refuse('the archive is damaged')
    const isUnix = directory[at + 5] === UNIX
    if (isUnix && directory.readUInt32LE(at + 38) >>> 28 === SYMBOLIC_LINK) {
      refuse('the archive has a symbolic link')
    }
    checkExtra(directory.subarray(nameEnd, extraEnd))
    listed.push(readListed(directory, at, directory.toString('latin1', at + 46, nameEnd)))
    at = next
  }
  if (at !== directory.length) refuse('the archive is damaged')
  return listed
}

function readListed(directory: Buffer, at: number, name: string): Listed {
  const [flags, method] = [directory.readUInt16LE(at + 8), directory.readUInt16LE(at + 10)]
  const [packed, unpacked, offset] = [20, 24, 42].map((field) =>
    directory.readUInt32LE(at + field),
  ) as [number, number, number]
  if (ESCAPES.test(name)) refuse('the archive has an entry outside of its folder')
  if ((flags & ENCRYPTED) !== 0) refuse('the archive is encrypted')
  if (method !== 0 && method !== 8) refuse('the archive is packed by a method that is not checked')
  if (method === 0 && packed !== unpacked) refuseHidden()
  if ([packed, unpacked, offset].includes(IN_ZIP64_FIELD)) refuse('the archive is Zip64')
  return { name, flags, method, packed, unpacked, offset }
}

/** Compares the header before an entry. @returns where its bytes begin */
async function compareLocal(file: FileHandle, entry: Listed): Promise<number> {
  const nameBytes = Buffer.byteLength(entry.name, 'latin1')
  const head = await read(file, entry.offset, 30 + nameBytes)
  const extraBytes = head.readUInt16LE(28)
  const isSame =
    head.readUInt32LE(0) === LOCAL_SIGNATURE &&
    head.readUInt16LE(6) === entry.flags &&
    head.readUInt16LE(8) === entry.method &&
    head.readUInt16LE(26) === nameBytes &&
    head.toString('latin1', 30) === entry.name
  if (!isSame) refuseHidden()
  const extra = await read(file, entry.offset + head.length, extraBytes)
  checkExtra(extra)
  for (const [at, size] of [[18, entry.packed] as const, [22, entry.unpacked] as const]) {
    const local = head.readUInt32LE(at)
    const isElsewhere = (entry.flags & HAS_DESCRIPTOR) !== 0 && local === 0
    // The sizes of the directory decide; a field for large files repeats them.
    if (local !== size && !isElsewhere && local !== IN_ZIP64_FIELD) refuseHidden()
  }
  return entry.offset + head.length + extraBytes
}

function checkExtra(extra: Buffer): void {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== UNICODE_PATH) continue
    const name = extra.toString('latin1', at + 9, at + 4 + extra.readUInt16LE(at + 2))
    if (ESCAPES.test(name)) refuse('the archive has an entry outside of its folder')
  }
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position)
  if (bytesRead < length) refuse('the archive is damaged')
  return buffer
}

function refuseHidden(): never {
  refuse('the directory of the archive and its entries differ')
}

function refuse(problem: string): never {
  throw new PARAPET_INPUT_GUARD_UPLOAD_REFUSED(problem)
}
