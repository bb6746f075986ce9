/** Delivers the log to one sink from a stored cursor: in order, and at least once. */
import { createBreaker, withDeadline, type Breaker, type Clock } from '@parapet/kit'
import { toEntries, type AuditEntry } from '../log/entries.ts'
import type { Cursor, LogStore } from '../log/log-store.ts'
import type { OcsfClass } from '../record/actions.ts'
import {
  SinkBusy,
  SinkPartialRefusal,
  SinkRefusal,
  type AuditSink,
  type Rejection,
} from '../log/sink.ts'

/** What {@link Follower} needs. */
export interface FollowerSettings {
  readonly sink: AuditSink
  readonly store: LogStore
  readonly clock: Clock
  /** The name of this process; it holds the lease of the cursor. */
  readonly holder: string
  readonly deadlineMs: number
  /** The OCSF class in the definition of an action. */
  readonly ocsfOf: (action: string) => OcsfClass | undefined
  readonly onFailed: (error: unknown) => void
  readonly onDead: (entry: AuditEntry, reason: string) => Promise<void>
  /** Some of the entries were rejected for good. */
  readonly onSomeDead: (entries: readonly AuditEntry[], reason: string) => Promise<void>
  /** The stored position was edited. */
  readonly onForged: (position: number) => void
}

const BATCH_RECORDS = 500
const LEASE_MS = 60_000
const MAX_PAUSE_MS = 3_600_000

/** A sink that fails does not delay other sinks. */
export class Follower {
  readonly sink: AuditSink
  readonly breaker: Breaker
  /** The index of the next entry to deliver, as far as this process knows. */
  position = 0
  readonly #settings: FollowerSettings
  #batch: number
  #hung: Promise<unknown> | undefined
  #pausedUntil = 0

  constructor(settings: FollowerSettings) {
    this.#settings = settings
    this.sink = settings.sink
    this.#batch = this.#most
    this.breaker = createBreaker({ failureThreshold: 3, clock: settings.clock })
  }

  /** Delivers one batch. @returns whether there may be more. @throws the sink's error */
  async step(): Promise<boolean> {
    const { store, holder, clock } = this.#settings
    if (clock.now() < this.#pausedUntil) return false
    // A delivery that missed its deadline may still write; a second one could overtake it.
    if (this.#hung !== undefined) {
      throw new Error(`the last delivery of the sink "${this.sink.name}" still runs`)
    }
    const cursor = await store.claimCursor(this.sink.name, holder, LEASE_MS)
    if (cursor === null) return false
    const position = await this.#resume(cursor)
    const size = (await store.state())?.size ?? 0
    if (position >= size) return false
    const end = Math.min(size, position + this.#batch)
    const entries = this.#classify(toEntries(await store.entries(position, end)))
    if (entries.length > 0 && !(await this.#deliver(entries))) return true
    if (await store.moveCursor(this.sink.name, holder, end)) this.position = end
    return true
  }

  /** An edited position could hide entries; delivery then goes on where this process knows it stopped. */
  async #resume({ position, isGenuine }: Cursor): Promise<number> {
    if (isGenuine) return (this.position = position)
    const { store, holder, onForged } = this.#settings
    onForged(position)
    await store.moveCursor(this.sink.name, holder, this.position)
    return this.position
  }

  #classify(entries: AuditEntry[]): AuditEntry[] {
    const { ocsfOf } = this.#settings
    return entries.map((entry) => {
      const ocsf = ocsfOf(entry.record.action)
      return ocsf === undefined ? entry : { ...entry, ocsf }
    })
  }

  /** @returns `false` if a smaller batch must be tried. */
  async #deliver(entries: readonly AuditEntry[]): Promise<boolean> {
    if (!this.breaker.tryEnter()) {
      throw new Error(`the sink "${this.sink.name}" failed repeatedly and is paused`)
    }
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
      return this.#settle(entries, error)
    }
  }

  /** @returns `false` if a smaller batch must be tried. @throws the error, if the batch is tried again. */
  async #settle(entries: readonly AuditEntry[], error: unknown): Promise<boolean> {
    const { clock, onFailed, onSomeDead } = this.#settings
    if (error instanceof SinkRefusal) {
      this.breaker.succeed()
      return this.#narrow(entries, error)
    }
    if (error instanceof SinkPartialRefusal) {
      this.breaker.succeed()
      await onSomeDead(entries, error.message)
      return true
    }
    if (error instanceof SinkBusy) {
      this.breaker.succeed()
      this.#pausedUntil = clock.now() + Math.min(error.retryAfterMs, MAX_PAUSE_MS)
    } else this.breaker.fail()
    onFailed(error)
    throw error
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
    const late = () => {
      controller.abort()
      return new Error(`the sink "${this.sink.name}" did not answer within ${deadlineMs} ms`)
    }
    // Async, so that a sink that throws synchronously rejects as well.
    const delivery = (async () => this.sink.deliver(entries, controller.signal))()
    try {
      return await withDeadline(delivery, deadlineMs, late, clock)
    } catch (error) {
      if (controller.signal.aborted) {
        this.#hung = delivery.catch(() => {}).finally(() => (this.#hung = undefined))
      }
      throw error
    }
  }

  get #most(): number {
    return this.sink.batchRecords ?? BATCH_RECORDS
  }
}
