/** Appends frames to the newest segment, and starts a new segment when it is full. */
import { close, constants, fdatasync, ftruncate, open as openFile, write } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { syncFolder } from './files.ts'
import { segmentName, type Segment } from './segments.ts'

const writeAt = promisify(write)
const sync = promisify(fdatasync)
const truncate = promisify(ftruncate)
const openPath = promisify(openFile)
const closeFile = promisify(close)

const PRIVATE_FILE = 0o600

/**
 * On Linux, a write to a file that is opened like this returns when the data are on disk. It saves a call
 * and a change of threads for each frame. Elsewhere `fdatasync` is safer: on macOS only libuv's one
 * flushes the cache of the drive. @see POSIX.1-2017, open
 */
const WRITES_SYNC = process.platform === 'linux'
const NEW_FILE =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (WRITES_SYNC ? constants.O_DSYNC : 0)

/** What {@link SegmentWriter} needs. */
export interface SegmentWriterSettings {
  readonly folder: string
  readonly segmentBytes: number
  readonly writer: string
  /** The time in the names of the segments, in milliseconds. */
  readonly startedAt: number
  readonly onStarted: (segment: Segment) => void
  /** A segment is empty after a failed write. */
  readonly onEmpty: (segment: Segment) => Promise<void>
}

interface OpenSegment {
  readonly fd: number
  /** Which file the path named when it was opened. */
  readonly inode: number
  readonly entry: Segment
}

/** Writes one frame at a time. */
export class SegmentWriter {
  readonly #settings: SegmentWriterSettings
  #segment: OpenSegment | undefined
  #segmentNumber = 0

  constructor(settings: SegmentWriterSettings) {
    this.#settings = settings
  }

  /** Writes and syncs a frame. @throws the error of the file system */
  async append(frame: Buffer): Promise<void> {
    const segment = await this.#segmentFor(frame.length)
    await this.#write(segment, frame)
    segment.entry.bytes += frame.length
  }

  /**
   * Whether what is written now can be found again: the folder and the current file exist. An open
   * descriptor outlives its file, so that nothing else would notice a deleted folder.
   *
   * @throws the error of the file system
   */
  async requireReachable(): Promise<void> {
    await stat(this.#settings.folder)
    const segment = this.#segment
    if (segment !== undefined) await requireFile(segment.entry.path, segment.inode)
  }

  /** Ends the current segment, so that it can be removed once it is shipped. */
  async end(): Promise<void> {
    const segment = this.#segment
    if (segment === undefined) return
    this.#segment = undefined
    segment.entry.closed = true
    await closeFile(segment.fd)
  }

  async #write({ fd, inode, entry }: OpenSegment, frame: Buffer): Promise<void> {
    try {
      await Promise.all([
        writeAll(fd, frame, entry.bytes),
        // A deleted file is noticed while this frame is written, before its records are acknowledged.
        requireFile(entry.path, inode),
      ])
    } catch (error) {
      // After a failed sync the state of the pages is unknown, so this file is not written again.
      await truncate(fd, entry.bytes).catch(() => {})
      await this.end()
      if (entry.bytes === 0) await this.#settings.onEmpty(entry)
      throw error
    }
  }

  async #segmentFor(frameBytes: number): Promise<OpenSegment> {
    const current = this.#segment
    const { folder, segmentBytes, startedAt, writer, onStarted } = this.#settings
    if (current !== undefined && current.entry.bytes + frameBytes <= segmentBytes) return current
    if (current !== undefined) await this.end()
    const path = join(folder, segmentName(startedAt, writer, this.#segmentNumber++))
    const fd = await openPath(path, NEW_FILE, PRIVATE_FILE)
    await syncFolder(folder)
    const entry: Segment = { path, writer, bytes: 0, closed: false }
    onStarted(entry)
    return (this.#segment = { fd, inode: (await stat(path)).ino, entry })
  }
}

/** Resolves when the whole frame is on disk. */
async function writeAll(fd: number, frame: Buffer, position: number): Promise<void> {
  let written = 0
  while (written < frame.length) {
    const left = frame.length - written
    const { bytesWritten } = await writeAt(fd, frame, written, left, position + written)
    written += bytesWritten
  }
  if (!WRITES_SYNC) await sync(fd)
}

async function requireFile(path: string, inode: number): Promise<void> {
  if ((await stat(path)).ino === inode) return
  throw Object.assign(new Error(`the file ${path} was replaced`), { code: 'REPLACED' })
}
