/** Copies records from the spool to the store, in order, and removes shipped segments. */
import type { LogStore } from '../log/log-store.ts'
import { parseLeaf } from '../record/leaf.ts'
import { SegmentReader } from '../wal/segments.ts'
import type { Spool } from '../wal/spool.ts'

const BATCH_BYTES = 2 * 1024 * 1024
const MAX_BATCH_RECORDS = 8192
const EAGER_RECORDS = 512

/** Its position is lost on restart; the log ignores records that it has already. */
export class Shipper {
  readonly #spool: Spool
  readonly #store: LogStore
  readonly #onOffered: () => void
  #reader: SegmentReader | undefined
  #oldestTime: number | undefined

  /** @param onOffered called when many records wait, so that sequencing need not wait for its pause. */
  constructor(spool: Spool, store: LogStore, onOffered: () => void) {
    this.#spool = spool
    this.#store = store
    this.#onOffered = onOffered
  }

  /** The time of the first record that is not in the store; `undefined` if the store has all. */
  get oldestTime(): number | undefined {
    return this.#oldestTime
  }

  /** Ships one batch. @returns whether there may be more. @throws the store's error */
  async shipBatch(): Promise<boolean> {
    const segment = this.#spool.segments[0]
    if (segment === undefined) {
      this.#oldestTime = undefined
      return false
    }
    if (this.#reader?.segment !== segment) {
      await this.#reader?.close()
      this.#reader = new SegmentReader(segment)
    }
    const reader = this.#reader
    const start = reader.offset
    const records = await reader.read(BATCH_BYTES)
    this.#oldestTime = parseLeaf(records[0]?.leaf ?? '')?.time
    if (records.length === 0) return this.#leave(reader)
    try {
      for (let at = 0; at < records.length; at += MAX_BATCH_RECORDS) {
        const batch = records.slice(at, at + MAX_BATCH_RECORDS)
        const appended = this.#store.append(batch)
        if (batch.length >= EAGER_RECORDS) this.#onOffered()
        await appended
      }
    } catch (error) {
      reader.offset = start
      throw error
    }
    return true
  }

  async close(): Promise<void> {
    await this.#reader?.close()
  }

  /** Removes a segment that has ended and was read completely: the store has all of it. */
  async #leave(reader: SegmentReader): Promise<boolean> {
    const { segment } = reader
    if (!segment.closed) return false
    await reader.close()
    this.#reader = undefined
    if (reader.offset < segment.bytes) await this.#spool.setAside(segment)
    else await this.#spool.remove(segment)
    return this.#spool.segments.length > 0
  }
}
