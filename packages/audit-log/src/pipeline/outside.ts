/** Takes checkpoints out of the operator's control: to `publishCheckpoint` and to a witness. */
import type { Clock, SecurityEvents } from '@parapet/kit'
import type { LogStore } from '../log/log-store.ts'
import type { NoteKey } from '../log/signed-note.ts'
import { Cosigner } from '../witness/cosigner.ts'
import { Loop } from './loop.ts'
import { Publisher } from './publisher.ts'
import { reasonOf } from './store-health.ts'

/** The witness that cosigns checkpoints. */
export interface WitnessSettings {
  /** The submission prefix. */
  readonly url: string
  readonly key: NoteKey
  /** The pause between two submissions, in milliseconds. */
  readonly intervalMs: number
}

/** What {@link Outside} needs. */
export interface OutsideSettings {
  readonly store: LogStore
  readonly events: SecurityEvents
  readonly clock: Clock
  /** Whether this instance writes checkpoints; another one has them cosigned. */
  readonly sequences: boolean
  /** The longest that one call may take. */
  readonly portDeadlineMs: number
  readonly publishCheckpoint: ((note: string) => Promise<void>) | undefined
  readonly witness: WitnessSettings | undefined
}

const PUBLISH_PAUSE_MS = 1000

/** Has loops of its own: nothing else waits for them. */
export class Outside {
  readonly loops: readonly Loop[]
  readonly #settings: OutsideSettings
  readonly #publisher: Publisher | undefined
  readonly #publishLoop: Loop | undefined
  readonly #cosigner: Cosigner | undefined

  constructor(settings: OutsideSettings) {
    this.#settings = settings
    const { publishCheckpoint: publish, portDeadlineMs: deadlineMs, clock } = settings
    if (publish !== undefined) {
      this.#publisher = new Publisher({ publish, deadlineMs, clock })
      this.#publishLoop = this.#loop(PUBLISH_PAUSE_MS, () => this.#publish())
    }
    const cosigner = (this.#cosigner = this.#createCosigner())
    this.loops = [
      ...(this.#publishLoop === undefined ? [] : [this.#publishLoop]),
      ...(cosigner === undefined
        ? []
        : [this.#loop(settings.witness!.intervalMs, () => cosigner.step())]),
    ]
  }

  /** The size that the witness cosigned last; `undefined` without a witness or an answer of it. */
  get cosignedSize(): number | undefined {
    return this.#cosigner?.size
  }

  /** Takes a new checkpoint. */
  offer(note: string): void {
    this.#cosigner?.offer()
    this.#publisher?.offer(note)
    this.#publishLoop?.wake()
  }

  #createCosigner(): Cosigner | undefined {
    const { witness, sequences, store, clock, events, portDeadlineMs } = this.#settings
    if (witness === undefined || !sequences) return undefined
    const { url, key } = witness
    return new Cosigner({
      store,
      url,
      key,
      clock,
      deadlineMs: portDeadlineMs,
      onFailed: (error) =>
        events.emit('audit_log.witness_failed', { details: { reason: reasonOf(error) } }),
      onRefused: (problem) => events.emit('audit_log.witness_refused', { details: { problem } }),
    })
  }

  async #publish(): Promise<boolean> {
    try {
      return (await this.#publisher?.publish()) ?? false
    } catch (error) {
      const details = { sink: 'publishCheckpoint', reason: reasonOf(error) }
      this.#settings.events.emit('audit_log.sink_failed', { details })
      throw error
    }
  }

  /** A loop whose task reports its errors itself. */
  #loop(intervalMs: number, task: () => Promise<boolean>): Loop {
    return new Loop({ clock: this.#settings.clock, intervalMs, task, onError: () => {} })
  }
}
