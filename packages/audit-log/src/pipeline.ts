/** The way of a record after its acknowledgement: spool → store → log → sinks and alerts. */
import { appendFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecurityEvents } from '@parapet/kit'
import type { AuditEntry } from './log/reader.ts'
import { Sequencer } from './log/sequencer.ts'
import { Shipper } from './log/shipper.ts'
import { Loop } from './loop.ts'
import type { AuditLogSettings } from './options.ts'
import { Follower, type AuditSink } from './sinks/follower.ts'
import type { LogState, LogStore, PlanIntegration } from './store/log-store.ts'
import type { Spool } from './wal/spool.ts'

/** What {@link Pipeline} works with. */
export interface PipelineSettings {
  readonly settings: AuditLogSettings
  readonly spool: Spool
  readonly store: LogStore
  readonly plan: PlanIntegration
  readonly sinks: readonly AuditSink[]
  readonly events: SecurityEvents
}

const BATCH_RECORDS = 8192
/** One insert for all that came in between costs less than one for each group. */
const SHIP_PAUSE_MS = 100
const FOLLOW_PAUSE_MS = 1000

/** See the top of the file. */
export class Pipeline {
  readonly followers: readonly Follower[]
  readonly sequencer: Sequencer
  readonly #all: PipelineSettings
  readonly #shipper: Shipper
  readonly #shipLoop: Loop
  readonly #sequenceLoop: Loop
  readonly #followLoops: readonly Loop[]
  #lostAt: number | undefined

  constructor(all: PipelineSettings) {
    this.#all = all
    const { settings, spool, store, plan, sinks, events } = all
    const { clock } = settings
    this.#shipper = new Shipper(spool, store, () => this.#sequenceLoop.wake())
    this.sequencer = new Sequencer({
      store,
      plan,
      folder: settings.directory,
      batchRecords: BATCH_RECORDS,
      onTampering: (problem) => events.emit('audit_log.tampering_found', { details: { problem } }),
      onCheckpoint: (state) => this.#onCheckpoint(state),
    })
    this.#shipLoop = new Loop({
      clock,
      intervalMs: SHIP_PAUSE_MS,
      task: () => this.#ship(),
      onError: (error) => this.#onStoreError(error),
    })
    this.#sequenceLoop = new Loop({
      clock,
      intervalMs: settings.integrateIntervalMs,
      task: () => (settings.sequencer ? this.#sequence() : Promise.resolve(false)),
      onError: (error) => this.#onStoreError(error),
    })
    this.followers = sinks.map((sink) => this.#follow(sink))
    this.#followLoops = this.followers.map(
      (follower) =>
        new Loop({
          clock,
          intervalMs: FOLLOW_PAUSE_MS,
          task: () => follower.step(),
          onError: () => {},
        }),
    )
  }

  /** Whether the store took what it was given last. */
  get storeIsUp(): boolean {
    return this.#lostAt === undefined
  }

  async start(): Promise<void> {
    await this.sequencer.open()
    for (const loop of this.#loops) loop.start()
  }

  /**
   * Moves everything recorded so far into the log, and through the sinks that take it.
   *
   * @throws what the store threw.
   */
  async flush(): Promise<void> {
    await this.#all.spool.settle()
    // A run that is under way may have looked before the last record came; the second one has not.
    for (let round = 0; round < 2; round++) {
      const shipping = this.#shipLoop.run()
      // A directory takes records only into the log, so both must go on together.
      const done = { value: false }
      const shipped = shipping.finally(() => (done.value = true))
      shipped.catch(() => {})
      while (!done.value) {
        this.#refuseToWait()
        await this.#sequenceLoop.run()
        await Promise.race([shipped.catch(() => {}), new Promise((next) => setImmediate(next))])
      }
      await shipped
      await this.#sequenceLoop.run()
    }
    await Promise.allSettled(this.#followLoops.map((loop) => loop.run()))
  }

  /** A directory that takes no more into its log would let whoever flushes wait for ever. */
  #refuseToWait(): void {
    const { settings, store } = this.#all
    const isStopped = !settings.sequencer || this.sequencer.halted !== undefined
    if (store.kind === 'directory' && isStopped) throw new Error('the log takes no records now')
  }

  async close(): Promise<void> {
    const following = Promise.all(this.#followLoops.map((loop) => loop.close()))
    await this.#sequenceLoop.close()
    await this.#all.store.close()
    await this.#shipLoop.close()
    await this.#shipper.close()
    await following
    await Promise.allSettled(this.followers.map(async ({ sink }) => sink.close?.()))
  }

  get #loops(): readonly Loop[] {
    return [this.#shipLoop, this.#sequenceLoop, ...this.#followLoops]
  }

  async #ship(): Promise<boolean> {
    const more = await this.#shipper.shipBatch()
    this.#onStoreAnswer()
    return more
  }

  async #sequence(): Promise<boolean> {
    const before = this.sequencer.halted
    const more = await this.sequencer.step()
    if (before === undefined) this.#onStoreAnswer()
    return more
  }

  #follow(sink: AuditSink): Follower {
    const { settings, store, events, spool } = this.#all
    return new Follower({
      sink,
      store,
      clock: settings.clock,
      holder: spool.writer,
      deadlineMs: settings.sinkDeadlineMs,
      ocsfOf: (action) => settings.actions?.[action]?.ocsf,
      onFailed: (error) =>
        events.emit('audit_log.sink_failed', {
          details: { sink: sink.name, reason: reasonOf(error) },
        }),
      onDead: (entry, reason) => this.#bury(sink, entry, reason),
    })
  }

  async #bury(sink: AuditSink, { index, leaf }: AuditEntry, reason: string): Promise<void> {
    const folder = join(this.#all.settings.directory, 'dead-letters')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const line = `${JSON.stringify({ index, reason, leaf })}\n`
    await appendFile(join(folder, `${sink.name}.ndjson`), line, { mode: 0o600 })
    this.#all.events.emit('audit_log.entry_rejected', {
      details: { sink: sink.name, index, reason },
    })
  }

  async #onCheckpoint({ note }: LogState): Promise<void> {
    for (const loop of this.#followLoops) loop.wake()
    try {
      await this.#all.settings.publishCheckpoint?.(note)
    } catch (error) {
      const details = { sink: 'publishCheckpoint', reason: reasonOf(error) }
      this.#all.events.emit('audit_log.sink_failed', { details })
    }
  }

  #onStoreError(error: unknown): void {
    if (this.#lostAt !== undefined || isConflict(error)) return
    this.#lostAt = this.#all.settings.clock.now()
    this.#all.events.emit('audit_log.store_lost', { details: { reason: reasonOf(error) } })
  }

  #onStoreAnswer(): void {
    if (this.#lostAt === undefined) return
    const downMs = this.#all.settings.clock.now() - this.#lostAt
    this.#lostAt = undefined
    this.#all.events.emit('audit_log.store_recovered', { details: { downMs } })
  }
}

const MAX_REASON = 200

/** The first words of an error; a driver's message may go on with what it was given. */
function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON)
}

/** Another sequencer was faster: the loser starts again from what the winner left. */
function isConflict(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: string }
  return error.message === 'another sequencer was faster' || code === '23505' || code === '40001'
}
