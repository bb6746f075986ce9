/** Moves acknowledged records on: spool → store → log → sinks and alerts. */
import { SigningFailed } from '../log/signing-key.ts'
import type { LogState, PlanIntegration } from '../log/log-store.ts'
import type { OcsfClass } from '../record/actions.ts'
import type { AuditSink } from '../log/sink.ts'
import type { Spool } from '../wal/spool.ts'
import { DeadLetters } from '../delivery/dead-letters.ts'
import { Follower } from '../delivery/follower.ts'
import { Loop } from './loop.ts'
import { Outside, type OutsideSettings } from './outside.ts'
import { Sequencer } from './sequencer.ts'
import { endRecovery, isRecoveryRequested, recoverSpool, type Recovery } from './recover.ts'
import { Shipper } from './shipper.ts'
import { StallWatch } from './stall-watch.ts'
import { isSequencerConflict, reasonOf, StoreHealth, type StorePart } from './store-health.ts'

/** What {@link Pipeline} needs. */
export interface PipelineSettings extends OutsideSettings {
  readonly spool: Spool
  readonly plan: PlanIntegration
  readonly sinks: readonly AuditSink[]
  /** The folder for the last seen state and the dead letters. */
  readonly folder: string
  readonly integrateIntervalMs: number
  readonly sinkDeadlineMs: number
  readonly stallMs: number
  readonly ocsfOf: (action: string) => OcsfClass | undefined
}

const BATCH_RECORDS = 8192
/** One insert for the records of 100 ms costs less than one insert per group. */
const SHIP_PAUSE_MS = 100
const FOLLOW_PAUSE_MS = 1000
const WATCH_PAUSE_MS = 5000

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
  readonly #outside: Outside
  readonly #watch: StallWatch
  readonly #watchLoop: Loop
  readonly #followLoops: readonly Loop[]
  #sequencingProblem: string | undefined
  #flushes = 0

  constructor(settings: PipelineSettings) {
    this.#settings = settings
    const { spool, store, events, clock, folder, stallMs } = settings
    this.#health = new StoreHealth(clock.now, events)
    this.#deadLetters = new DeadLetters(folder, events)
    this.#shipper = new Shipper({
      spool,
      store,
      now: clock.now,
      onOffered: () => this.#sequenceLoop.wake(),
      onLost: (count) => events.emit('audit_log.record_lost', { details: { count } }),
    })
    this.sequencer = this.#createSequencer()
    this.#shipLoop = this.#loop('ship', SHIP_PAUSE_MS, () => this.#ship())
    this.#sequenceLoop = this.#loop('sequence', settings.integrateIntervalMs, () =>
      settings.sequences ? this.#sequence() : Promise.resolve(false),
    )
    this.#outside = new Outside(settings)
    this.#watch = new StallWatch({
      shipper: this.#shipper,
      store,
      clock,
      events,
      stallMs,
      storeIsUp: () => this.storeIsUp,
      problem: () => this.problem,
    })
    this.#watchLoop = this.#quietLoop(async () => {
      await spool.look()
      await this.#watch.check()
      return false
    }, WATCH_PAUSE_MS)
    this.followers = settings.sinks.map((sink) => this.#follow(sink))
    this.#followLoops = this.followers.map((follower) => this.#quietLoop(() => follower.step()))
  }

  /** Whether the last call of the store succeeded. */
  get storeIsUp(): boolean {
    return this.#health.isUp
  }

  /** Why sequencing stopped; `undefined` while it works. */
  get halted(): string | undefined {
    return this.sequencer.halted
  }

  /** Why records do not reach the log, as far as it is known. */
  get problem(): string | undefined {
    return this.sequencer.halted ?? this.#health.reason ?? this.#sequencingProblem
  }

  /** The size that the witness cosigned last; `undefined` without a witness or an answer of it. */
  get cosignedSize(): number | undefined {
    return this.#outside.cosignedSize
  }

  /** The age of the oldest record that is not in the log; 0 if all are. */
  oldestUnsequencedMs(): Promise<number> {
    return this.#watch.oldestUnsequencedMs()
  }

  /** Continues a log whose end was lost, if the operator asked for it. @returns what is lost */
  async recover(): Promise<Recovery | undefined> {
    const { folder, store, spool } = this.#settings
    await this.sequencer.open()
    const { seen } = this.sequencer
    if (seen === undefined || !(await isRecoveryRequested(folder))) return undefined
    if (await this.sequencer.isContinued()) {
      await endRecovery(folder)
      return undefined
    }
    const state = await store.state()
    const recovery = await recoverSpool(store, state, seen, spool.segments)
    await this.sequencer.accept(state!)
    return recovery
  }

  /** Ends {@link recover}, after its statement is on disk. */
  endRecovery(): Promise<void> {
    return endRecovery(this.#settings.folder)
  }

  start(): void {
    for (const loop of this.#loops()) loop.start()
  }

  /**
   * Moves all records so far into the log, and to the sinks that accept them.
   *
   * @throws the store's error.
   */
  async flush(): Promise<void> {
    await this.#settings.spool.settle()
    // Before a step may leave out the numbers that are still missing then.
    if (this.sequencer.halted === undefined) await this.#shipper.confirm(true)
    this.#flushes++
    try {
      await this.#drain()
    } finally {
      this.#flushes--
    }
  }

  async #drain(): Promise<void> {
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
    await this.#shipper.confirm(true)
    await Promise.allSettled(
      [...this.#followLoops, ...this.#outside.loops].map((loop) => loop.run()),
    )
  }

  /** Without sequencing a directory would never resolve, and `flush` would wait forever. */
  #requireProgress(): void {
    const { sequences, store } = this.#settings
    const { halted } = this.sequencer
    if (store.kind !== 'directory' || (sequences && halted === undefined)) return
    throw new Error(`records cannot move into the log: ${halted ?? '"sequencer" is false'}`)
  }

  async close(): Promise<void> {
    const others = [...this.#followLoops, ...this.#outside.loops, this.#watchLoop]
    const following = Promise.all(others.map((loop) => loop.close()))
    await this.#sequenceLoop.close()
    await this.#settings.store.close()
    await this.#shipLoop.close()
    await this.#shipper.close()
    await following
    await Promise.allSettled(this.followers.map(async ({ sink }) => sink.close?.()))
  }

  #loop(part: StorePart, intervalMs: number, task: () => Promise<boolean>): Loop {
    return new Loop({
      clock: this.#settings.clock,
      intervalMs,
      task,
      onError: (error) => {
        if (isSequencerConflict(error)) return
        if (error instanceof SigningFailed) this.#sequencingProblem = reasonOf(error)
        else this.#health.fail(part, error)
      },
    })
  }

  /** A loop whose task reports its errors itself. */
  #quietLoop(task: () => Promise<boolean>, intervalMs = FOLLOW_PAUSE_MS): Loop {
    return new Loop({ clock: this.#settings.clock, intervalMs, task, onError: () => {} })
  }

  #loops(): Loop[] {
    const own = [this.#shipLoop, this.#sequenceLoop, this.#watchLoop]
    return [...own, ...this.#outside.loops, ...this.#followLoops]
  }

  #createSequencer(): Sequencer {
    const { store, plan, folder, events } = this.#settings
    return new Sequencer({
      store,
      plan,
      folder,
      batchRecords: BATCH_RECORDS,
      onTampering: (problem) => events.emit('audit_log.tampering_found', { details: { problem } }),
      onCheckpoint: (state) => this.#onCheckpoint(state),
    })
  }

  async #ship(): Promise<boolean> {
    // What is shipped to a store that lost its end leaves the spool, and arrives in the wrong order.
    await this.sequencer.checkOnce()
    if (this.sequencer.halted !== undefined) return false
    const more = await this.#shipper.shipBatch()
    await this.#shipper.confirm(false)
    this.#health.succeed('ship')
    return more
  }

  async #sequence(): Promise<boolean> {
    const before = this.sequencer.halted
    const { writer, segments } = this.#settings.spool
    const own = new Set([writer, ...segments.map((segment) => segment.writer)])
    const more = await this.sequencer.step(this.#flushes > 0 ? own : undefined)
    if (before === undefined) this.#health.succeed('sequence')
    this.#sequencingProblem = undefined
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
      onSomeDead: (entries, reason) => this.#deadLetters.addSome(sink.name, entries, reason),
      onForged: (position) =>
        events.emit('audit_log.cursor_refused', { details: { sink: sink.name, position } }),
    })
  }

  #onCheckpoint({ note }: LogState): void {
    for (const loop of this.#followLoops) loop.wake()
    this.#outside.offer(note)
  }
}
