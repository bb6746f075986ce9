/** Moves acknowledged records on: spool → store → log → sinks and alerts. */
import type { Clock, SecurityEvents } from '@parapet/kit'
import type { LogState, LogStore, PlanIntegration } from '../log/log-store.ts'
import type { OcsfClass } from '../record/actions.ts'
import type { AuditSink } from '../log/sink.ts'
import type { Spool } from '../wal/spool.ts'
import { DeadLetters } from './dead-letters.ts'
import { Follower } from './follower.ts'
import { Loop } from './loop.ts'
import { Sequencer } from './sequencer.ts'
import { Shipper } from './shipper.ts'
import { isSequencerConflict, reasonOf, StoreHealth } from './store-health.ts'

/** What {@link Pipeline} needs. */
export interface PipelineSettings {
  readonly spool: Spool
  readonly store: LogStore
  readonly plan: PlanIntegration
  readonly sinks: readonly AuditSink[]
  readonly events: SecurityEvents
  readonly clock: Clock
  /** The folder for the last seen state and the dead letters. */
  readonly folder: string
  /** Whether this instance moves records from the inbox into the log. */
  readonly sequences: boolean
  readonly integrateIntervalMs: number
  readonly sinkDeadlineMs: number
  readonly publishCheckpoint: ((note: string) => Promise<void>) | undefined
  readonly ocsfOf: (action: string) => OcsfClass | undefined
}

const BATCH_RECORDS = 8192
/** One insert for the records of 100 ms costs less than one insert per group. */
const SHIP_PAUSE_MS = 100
const FOLLOW_PAUSE_MS = 1000

/** Runs the loops. */
export class Pipeline {
  readonly followers: readonly Follower[]
  readonly sequencer: Sequencer
  readonly #settings: PipelineSettings
  readonly #health: StoreHealth
  readonly #deadLetters: DeadLetters
  readonly #shipper: Shipper
  readonly #shipLoop: Loop
  readonly #sequenceLoop: Loop
  readonly #followLoops: readonly Loop[]

  constructor(settings: PipelineSettings) {
    this.#settings = settings
    const { spool, store, plan, sinks, events, clock, folder } = settings
    this.#health = new StoreHealth(clock.now, events)
    this.#deadLetters = new DeadLetters(folder, events)
    this.#shipper = new Shipper(spool, store, () => this.#sequenceLoop.wake())
    this.sequencer = new Sequencer({
      store,
      plan,
      folder,
      batchRecords: BATCH_RECORDS,
      onTampering: (problem) => events.emit('audit_log.tampering_found', { details: { problem } }),
      onCheckpoint: (state) => this.#onCheckpoint(state),
    })
    this.#shipLoop = this.#loop(SHIP_PAUSE_MS, () => this.#ship())
    this.#sequenceLoop = this.#loop(settings.integrateIntervalMs, () =>
      settings.sequences ? this.#sequence() : Promise.resolve(false),
    )
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

  /** Whether the last call of the store succeeded. */
  get storeIsUp(): boolean {
    return this.#health.isUp
  }

  async start(): Promise<void> {
    await this.sequencer.open()
    for (const loop of [this.#shipLoop, this.#sequenceLoop, ...this.#followLoops]) loop.start()
  }

  /**
   * Moves all records so far into the log, and to the sinks that accept them.
   *
   * @throws the store's error.
   */
  async flush(): Promise<void> {
    await this.#settings.spool.settle()
    // A run in progress may have started before the last record arrived; the second round did not.
    for (let round = 0; round < 2; round++) {
      const shipping = this.#shipLoop.run()
      // A directory accepts records only into the log, so shipping and sequencing must run together.
      const done = { value: false }
      const shipped = shipping.finally(() => (done.value = true))
      shipped.catch(() => {})
      while (!done.value) {
        this.#requireProgress()
        await this.#sequenceLoop.run()
        await Promise.race([shipped.catch(() => {}), new Promise((next) => setImmediate(next))])
      }
      await shipped
      await this.#sequenceLoop.run()
    }
    await Promise.allSettled(this.#followLoops.map((loop) => loop.run()))
  }

  /** Without sequencing a directory would never resolve, and `flush` would wait forever. */
  #requireProgress(): void {
    const { sequences, store } = this.#settings
    const { halted } = this.sequencer
    if (store.kind !== 'directory' || (sequences && halted === undefined)) return
    throw new Error(`records cannot move into the log: ${halted ?? '"sequencer" is false'}`)
  }

  async close(): Promise<void> {
    const following = Promise.all(this.#followLoops.map((loop) => loop.close()))
    await this.#sequenceLoop.close()
    await this.#settings.store.close()
    await this.#shipLoop.close()
    await this.#shipper.close()
    await following
    await Promise.allSettled(this.followers.map(async ({ sink }) => sink.close?.()))
  }

  #loop(intervalMs: number, task: () => Promise<boolean>): Loop {
    return new Loop({
      clock: this.#settings.clock,
      intervalMs,
      task,
      onError: (error) => {
        if (!isSequencerConflict(error)) this.#health.fail(error)
      },
    })
  }

  async #ship(): Promise<boolean> {
    const more = await this.#shipper.shipBatch()
    this.#health.succeed()
    return more
  }

  async #sequence(): Promise<boolean> {
    const before = this.sequencer.halted
    const more = await this.sequencer.step()
    if (before === undefined) this.#health.succeed()
    return more
  }

  #follow(sink: AuditSink): Follower {
    const { store, events, spool, clock, sinkDeadlineMs, ocsfOf } = this.#settings
    return new Follower({
      sink,
      store,
      clock,
      holder: spool.writer,
      deadlineMs: sinkDeadlineMs,
      ocsfOf,
      onFailed: (error) =>
        events.emit('audit_log.sink_failed', {
          details: { sink: sink.name, reason: reasonOf(error) },
        }),
      onDead: (entry, reason) => this.#deadLetters.add(sink.name, entry, reason),
    })
  }

  async #onCheckpoint({ note }: LogState): Promise<void> {
    for (const loop of this.#followLoops) loop.wake()
    try {
      await this.#settings.publishCheckpoint?.(note)
    } catch (error) {
      const details = { sink: 'publishCheckpoint', reason: reasonOf(error) }
      this.#settings.events.emit('audit_log.sink_failed', { details })
    }
  }
}
