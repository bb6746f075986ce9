/** Copies records from the spool to the store, in order, and removes segments whose records are in the log. */
import { access } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { LogStore } from '../log/log-store.ts'
import { parseLeaf } from '../record/leaf.ts'
import type { SpooledRecord } from '../wal/frames.ts'
import { SegmentReader, type Segment } from '../wal/segments.ts'
import type { Spool } from '../wal/spool.ts'

const BATCH_BYTES = 2 * 1024 * 1024
const MAX_BATCH_RECORDS = 8192
const EAGER_RECORDS = 512
/** How often the log is asked for what was shipped. */
const CONFIRM_PAUSE_MS = 1000
/** After this time without an answer by the log, records are shipped again. */
const RESHIP_MS = 5000

/** Records that the store has, and perhaps not the log. */
interface Shipped {
  readonly segment: Segment
  readonly offset: number
  readonly first: number
  readonly last: number
  readonly count: number
  readonly time: number | undefined
  shippedAt: number
}

/** What {@link Shipper} needs. */
export interface ShipperSettings {
  readonly spool: Spool
  readonly store: LogStore
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Called when many records wait, so that sequencing need not wait for its pause. */
  readonly onOffered: () => void
  /** The log went on without these records, which the store lost. */
  readonly onLost: (count: number) => void
}

/**
 * Its position is lost on restart; the log ignores records that it has already. A store may lose what
 * it acknowledged, for example in a failover, so that a record stays in the spool until the log has it.
 */
export class Shipper {
  readonly #settings: ShipperSettings
  #reader: SegmentReader | undefined
  /** Segments that were read completely; they are removed when the log has their records. */
  readonly #read = new Set<Segment>()
  readonly #shipped: Shipped[] = []
  /** Up to this index the log has no record that is still asked for, by writer. */
  readonly #seenIndex = new Map<string, number>()
  #oldestTime: number | undefined
  #confirmedAt = 0
  /** The last call of {@link confirm}; the next one waits for it. */
  #confirming: Promise<void> = Promise.resolve()

  constructor(settings: ShipperSettings) {
    this.#settings = settings
  }

  /** The time of the first record that is not in the log, as far as it is known. */
  get oldestTime(): number | undefined {
    return this.#shipped[0]?.time ?? this.#oldestTime
  }

  /** Ships one batch. @returns whether there may be more. @throws the store's error */
  async shipBatch(): Promise<boolean> {
    const segment = this.#settings.spool.segments.find((item) => !this.#read.has(item))
    if (segment === undefined) {
      this.#oldestTime = undefined
      return false
    }
    if (this.#reader?.segment !== segment) {
      await this.#reader?.close()
      this.#reader = new SegmentReader(segment)
    }
    const reader = this.#reader
    const offset = reader.offset
    const records = await this.#readFrom(reader)
    if (records === undefined) return true
    this.#oldestTime = parseLeaf(records[0]?.leaf ?? '')?.time
    if (records.length === 0) return this.#leave(reader)
    try {
      await this.#append(records)
    } catch (error) {
      reader.offset = offset
      throw error
    }
    this.#note(segment, offset, records)
    return true
  }

  /**
   * Asks the log which records it has, and ships those again that it should have by now.
   *
   * @param isUrgent whether to do both at once.
   * @throws the store's error
   */
  confirm(isUrgent: boolean): Promise<void> {
    const confirmed = this.#confirming.then(() => this.#confirm(isUrgent))
    this.#confirming = confirmed.catch(() => {})
    return confirmed
  }

  async #confirm(isUrgent: boolean): Promise<void> {
    const now = this.#settings.now()
    if (this.#shipped.length > 0) {
      if (!isUrgent && now - this.#confirmedAt < CONFIRM_PAUSE_MS) return
      this.#confirmedAt = now
      while (await this.#confirmFirst());
      for (const shipped of this.#shipped) {
        if (isUrgent || now - shipped.shippedAt >= RESHIP_MS) await this.#shipAgain(shipped, now)
        else break
      }
    }
    await this.#removeRead()
  }

  async close(): Promise<void> {
    await this.#reader?.close()
  }

  #note(segment: Segment, offset: number, records: readonly SpooledRecord[]): void {
    const { store, now } = this.#settings
    if (store.logged === undefined) return
    this.#shipped.push({
      segment,
      offset,
      first: records[0]!.seq,
      last: records.at(-1)!.seq,
      count: records.length,
      time: this.#oldestTime,
      shippedAt: now(),
    })
  }

  async #append(records: readonly SpooledRecord[]): Promise<void> {
    const { store, onOffered } = this.#settings
    for (let at = 0; at < records.length; at += MAX_BATCH_RECORDS) {
      const batch = records.slice(at, at + MAX_BATCH_RECORDS)
      const appended = store.append(batch)
      if (batch.length >= EAGER_RECORDS) onOffered()
      await appended
    }
  }

  /** @returns whether the first batch needs no more care. */
  async #confirmFirst(): Promise<boolean> {
    const [batch] = this.#shipped
    if (batch === undefined) return false
    const { writer } = batch.segment
    const after = this.#seenIndex.get(writer) ?? -1
    const found = await this.#settings.store.logged!(writer, batch.first, batch.last, after)
    if (found !== null && found.count < batch.count) {
      if (found.lastSeq < batch.last) return false
      // The numbers of a writer enter the log in order, so that these cannot follow any more.
      this.#settings.onLost(batch.count - found.count)
    }
    if (found !== null && found.lastSeq <= batch.last) this.#seenIndex.set(writer, found.lastIndex)
    this.#shipped.shift()
    return true
  }

  async #shipAgain(shipped: Shipped, now: number): Promise<void> {
    const reader = new SegmentReader(shipped.segment)
    reader.offset = shipped.offset
    try {
      const records = await reader.read(BATCH_BYTES)
      await this.#append(records.filter(({ seq }) => seq <= shipped.last))
    } catch (error) {
      // The file is gone; the log may still take what the store has.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    } finally {
      await reader.close()
    }
    shipped.shippedAt = now
  }

  /**
   * @returns `undefined` if the file was deleted: its records are lost, and later ones must not wait. A
   *   folder that is missing as a whole may come back, for example when its disk is mounted again.
   */
  async #readFrom(reader: SegmentReader): Promise<SpooledRecord[] | undefined> {
    try {
      return await reader.read(BATCH_BYTES)
    } catch (error) {
      const { closed, path } = reader.segment
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT' && closed
      // The folder first: it may come back between the two looks.
      if (!isMissing || !(await exists(dirname(path))) || (await exists(path))) throw error
      await this.#settings.spool.setAside(reader.segment)
      return undefined
    }
  }

  /** Leaves a segment that has ended and was read completely. */
  async #leave(reader: SegmentReader): Promise<boolean> {
    const { segment } = reader
    const { spool } = this.#settings
    if (!segment.closed) return false
    await reader.close()
    this.#reader = undefined
    if (reader.offset < segment.bytes) await spool.setAside(segment)
    else this.#read.add(segment)
    await this.#removeRead()
    return spool.segments.some((item) => !this.#read.has(item))
  }

  async #removeRead(): Promise<void> {
    for (const segment of this.#read) {
      if (this.#shipped.some((batch) => batch.segment === segment)) continue
      this.#read.delete(segment)
      await this.#settings.spool.remove(segment)
    }
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
