/** Keeps the latest checkpoint cosigned by the witness. It never delays the steps of the log. */
import { withDeadline, type Clock } from '@parapet/kit'
import { parseCheckpoint } from '../log/checkpoint.ts'
import { readCosignature } from '../log/cosignature.ts'
import type { LogState, LogStore } from '../log/log-store.ts'
import { proveConsistency } from '../log/proofs.ts'
import { parseNote, type NoteKey } from '../log/signed-note.ts'
import { addCheckpoint, WitnessRefusal } from './add-checkpoint.ts'

/** What {@link Cosigner} needs. */
export interface CosignerSettings {
  readonly store: LogStore
  readonly url: string
  readonly key: NoteKey
  /** The longest that one submission may take. */
  readonly deadlineMs: number
  readonly clock: Clock
  /** The witness could not be asked; the next attempt follows. Called when the reason changes. */
  readonly onFailed: (reason: string) => void
  /** The stored log does not continue what the witness cosigned. Called when the problem changes. */
  readonly onRefused: (problem: string) => void
}

/** A witness that keeps answering with other sizes is asked again later. */
const MAX_ATTEMPTS = 4

/** Submits only the latest checkpoint: its cosignature covers all earlier entries. */
export class Cosigner {
  readonly #settings: CosignerSettings
  /** The size that the witness cosigned last, as far as this process knows. */
  #size: number | undefined
  /** A checkpoint may be new. At the start, the last process may have left one. */
  #isDue = true
  #problem: string | undefined

  constructor(settings: CosignerSettings) {
    this.#settings = settings
  }

  /** The size that the witness cosigned last; `undefined` before the first answer. */
  get size(): number | undefined {
    return this.#size
  }

  /** Notes that there is a new checkpoint. */
  offer(): void {
    this.#isDue = true
  }

  /** Has the latest checkpoint cosigned. @returns `false`: no more is left. @throws the error; it is tried again */
  async step(): Promise<boolean> {
    if (!this.#isDue) return false
    this.#isDue = false
    try {
      await this.#inTime()
      this.#problem = undefined
      return false
    } catch (error) {
      this.#isDue = true
      this.#report(error as Error)
      throw error
    }
  }

  /** A witness that is away for a day emits one event, not one for each attempt. */
  #report(error: Error): void {
    const { onFailed, onRefused } = this.#settings
    if (error.message === this.#problem) return
    this.#problem = error.message
    if (error instanceof WitnessRefusal) onRefused(error.message)
    else onFailed(error.message)
  }

  async #inTime(): Promise<void> {
    const { deadlineMs, clock } = this.#settings
    const late = () => new Error(`the witness did not answer within ${deadlineMs} ms`)
    const controller = new AbortController()
    try {
      await withDeadline(this.#cosign(controller.signal), deadlineMs, late, clock)
    } finally {
      controller.abort()
    }
  }

  async #cosign(signal: AbortSignal): Promise<void> {
    const { store } = this.#settings
    this.#size ??= await this.#storedSize()
    let oldSize = this.#size
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      // Read again each time: another instance may have written a checkpoint and had it cosigned.
      const state = await store.state()
      if (state === null || state.size === 0) return
      if (oldSize > state.size) {
        throw new WitnessRefusal(
          `the witness cosigned ${oldSize} entries, but the log has ${state.size}: it was rolled back`,
        )
      }
      const knownSize = await this.#submit(state, oldSize, signal)
      if (knownSize === undefined) return
      oldSize = knownSize
    }
    throw new Error(`the witness refused ${MAX_ATTEMPTS} sizes in a row`)
  }

  /** @returns the size that the witness knows, if it is another one. */
  async #submit(
    { size, note }: LogState,
    oldSize: number,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { store, url, key } = this.#settings
    const proof = await proveConsistency(store, oldSize, size)
    const answer = await addCheckpoint(url, { oldSize, proof, note }, signal)
    if ('knownSize' in answer) return answer.knownSize
    await store.keepCosigned(addCosignature(note, answer.lines, key))
    this.#size = size
    return undefined
  }

  /** What was stored before may be edited, and the witness tells the right size. */
  async #storedSize(): Promise<number> {
    const { store, key } = this.#settings
    const note = await store.cosigned()
    if (note === undefined || typeof readCosignature(note, key) === 'string') return 0
    const size = parseCheckpoint(parseNote(note)?.text ?? '')?.size ?? 0
    // A larger size than that of the log would be no valid request; the witness answers with its own.
    return size <= ((await store.state())?.size ?? 0) ? size : 0
  }
}

/** Adds the line of the witness to the checkpoint; lines of other keys are left out. */
function addCosignature(note: string, lines: string, key: NoteKey): string {
  const { text = '', signatures = [] } = parseNote(note) ?? {}
  const own = signatures.map(({ line }) => `${line}\n`).join('')
  const found = readCosignature(`${text}\n${lines}`, key)
  if (typeof found === 'string') {
    throw new Error(`the cosignature of "${key.name}" is ${found} in the answer of the witness`)
  }
  return `${text}\n${own}${found.line}\n`
}
