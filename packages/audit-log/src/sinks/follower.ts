/** Follows the log from a cursor and delivers it, at least once and in order; a failing receiver holds up nobody else. */
import { createBreaker, type Breaker, type Clock } from '@parapet/kit'
import { toEntries, type AuditEntry } from '../log/reader.ts'
import type { OcsfClass } from '../record/actions.ts'
import type { LogStore } from '../store/log-store.ts'

/** One entry that a sink will never take. */
export interface Rejection {
  readonly index: number
  readonly reason: string
}

/** Where the log is sent. */
export interface AuditSink {
  /** Names the cursor: letters, digits, `-`, `_`; it must not change. */
  readonly name: string
  /** The most entries in one call. @default 500 */
  readonly batchRecords?: number
  /**
   * Delivers entries; the same ones come again when it throws or is late. `entry.record.id` is
   * the stable id by which the receiver may drop repetitions.
   *
   * @param signal aborted at the deadline.
   * @returns the entries that will never be taken; they go to the dead letters.
   * @throws SinkRefusal the call as a whole will never be taken; anything else is tried again.
   */
  deliver(entries: readonly AuditEntry[], signal: AbortSignal): Promise<readonly Rejection[] | void>
  close?(): Promise<void>
}

/** A delivery that will never be taken: a batch is then split until the one entry is found. */
export class SinkRefusal extends Error {
  override readonly name = 'SinkRefusal'
}

/** What {@link Follower} takes. */
export interface FollowerSettings {
  readonly sink: AuditSink
  readonly store: LogStore
  readonly clock: Clock
  /** Who this process is among those that share the store. */
  readonly holder: string
  readonly deadlineMs: number
  /** The OCSF class that the app gave an action. */
  readonly ocsfOf: (action: string) => OcsfClass | undefined
  readonly onFailed: (error: unknown) => void
  readonly onDead: (entry: AuditEntry, reason: string) => Promise<void>
}

const BATCH_RECORDS = 500
const LEASE_MS = 60_000

/** See the top of the file. */
export class Follower {
  readonly sink: AuditSink
  readonly breaker: Breaker
  /** The next index to deliver, as far as this process knows. */
  position = 0
  readonly #settings: FollowerSettings
  #batch: number
  #hung: Promise<unknown> | undefined

  constructor(settings: FollowerSettings) {
    this.#settings = settings
    this.sink = settings.sink
    this.#batch = this.#most
    this.breaker = createBreaker({ failureThreshold: 3, clock: settings.clock })
  }

  /** Delivers one batch. @returns whether there may be more. @throws what the sink threw */
  async step(): Promise<boolean> {
    const { store, holder } = this.#settings
    // A delivery that outlived its deadline may still write: nothing overtakes it.
    if (this.#hung !== undefined) throw new Error(`${this.sink.name} still hangs`)
    const position = await store.claimCursor(this.sink.name, holder, LEASE_MS)
    if (position === null) return false
    this.position = position
    const size = (await store.state())?.size ?? 0
    if (position >= size) return false
    const end = Math.min(size, position + this.#batch)
    const entries = this.#classify(toEntries(await store.entries(position, end)))
    if (entries.length > 0 && !(await this.#deliver(entries))) return true
    if (await store.moveCursor(this.sink.name, holder, end)) this.position = end
    return true
  }

  /** An action may say which OCSF class it is. */
  #classify(entries: AuditEntry[]): AuditEntry[] {
    const { ocsfOf } = this.#settings
    return entries.map((entry) => {
      const ocsf = ocsfOf(entry.record.action)
      return ocsf === undefined ? entry : { ...entry, ocsf }
    })
  }

  /** @returns false when the batch is to be tried again, smaller. */
  async #deliver(entries: readonly AuditEntry[]): Promise<boolean> {
    if (!this.breaker.tryEnter()) throw new Error(`${this.sink.name} is not asked for a while`)
    try {
      const rejections = (await this.#inTime(entries)) ?? []
      this.breaker.succeed()
      for (const { index, reason } of rejections) {
        const entry = entries.find((candidate) => candidate.index === index)
        if (entry !== undefined) await this.#settings.onDead(entry, reason)
      }
      this.#batch = Math.min(this.#batch * 2, this.#most)
      return true
    } catch (error) {
      if (error instanceof SinkRefusal) {
        this.breaker.succeed()
        return this.#narrow(entries, error)
      }
      this.breaker.fail()
      this.#settings.onFailed(error)
      throw error
    }
  }

  async #narrow(entries: readonly AuditEntry[], error: SinkRefusal): Promise<boolean> {
    const [only] = entries
    if (entries.length === 1 && only !== undefined) {
      await this.#settings.onDead(only, error.message)
      return true
    }
    this.#batch = Math.max(1, Math.floor(entries.length / 2))
    return false
  }

  async #inTime(entries: readonly AuditEntry[]): Promise<readonly Rejection[] | void> {
    const { clock, deadlineMs } = this.#settings
    const controller = new AbortController()
    const { promise: late, reject } = withReject()
    const cancel = clock.schedule(deadlineMs, () => {
      controller.abort()
      reject(new Error(`${this.sink.name} did not answer within ${deadlineMs} ms`))
    })
    // A function that throws at once is one that rejects.
    const delivery = (async () => this.sink.deliver(entries, controller.signal))()
    try {
      return await Promise.race([delivery, late])
    } catch (error) {
      if (controller.signal.aborted) {
        this.#hung = delivery.catch(() => {}).finally(() => (this.#hung = undefined))
      }
      throw error
    } finally {
      cancel()
    }
  }

  get #most(): number {
    return this.sink.batchRecords ?? BATCH_RECORDS
  }
}

function withReject(): { promise: Promise<never>; reject: (error: Error) => void } {
  let reject!: (error: Error) => void
  const promise = new Promise<never>((_, no) => {
    reject = no
  })
  return { promise, reject }
}
