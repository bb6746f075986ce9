/** The checkpoints of a log, as a stream: verifies their signatures and order, and compares their roots. */
import { parseCheckpoint, type Checkpoint } from '../log/checkpoint.ts'
import type { LogState, VerifiableLog } from '../log/log-store.ts'
import { openNote, type NoteKey } from '../log/signed-note.ts'
import type { Findings } from './report.ts'

/** A checkpoint with a trusted signature. */
interface Read {
  readonly what: string
  readonly checkpoint: Checkpoint
}

/** A checkpoint of a larger log than the stored one. */
interface Beyond {
  readonly what: string
  readonly signed: number
}

const MAX_BEYOND = 100

/** Knows at which size the tree must be compared next, and with which root. Few are in memory. */
export class CheckpointTrail {
  /** The number of compared checkpoints. */
  checked = 0
  readonly #store: VerifiableLog
  readonly #keys: readonly NoteKey[]
  readonly #findings: Findings
  #state: LogState | null = null
  #stream: AsyncIterator<Read, undefined> | undefined
  #due: Checkpoint | undefined
  #ahead: Checkpoint | undefined
  /** The size of the last stored checkpoint, trusted or not. */
  #lastStored = 0
  #lastDue = 0
  readonly #beyond: Beyond[] = []
  #isUntrusted = false

  constructor(store: VerifiableLog, keys: readonly NoteKey[], findings: Findings) {
    this.#store = store
    this.#keys = keys
    this.#findings = findings
  }

  /** Reads the checkpoint in the state and those that were kept elsewhere, and starts the stream. */
  async open(state: LogState | null, pinned: readonly string[]): Promise<void> {
    this.#state = state
    const given = pinned.flatMap((note) => this.#read(note, 'the given checkpoint'))
    if (state !== null && state.size > 0) {
      given.push(...this.#read(state.note, 'the last checkpoint', state.size))
    }
    this.#stream = this.#merge(given.toSorted((a, b) => a.checkpoint.size - b.checkpoint.size))
    await this.advance()
  }

  /** Whether the next checkpoint has this size. */
  isDue(size: number): boolean {
    return this.#due?.size === size
  }

  /** Whether the next checkpoint has this root. */
  matches(root: Buffer): boolean {
    return this.#due?.root.equals(root) === true
  }

  /** Reports that neither entries nor tiles lead to the root. */
  refuse(from: number, to: number): void {
    this.#findings.add({
      kind: 'history',
      index: from,
      detail: `the entries ${from} to ${to - 1} differ from the checkpoint of size ${to}`,
    })
  }

  /** Moves to the next checkpoint of a larger size. */
  async advance(): Promise<void> {
    if (this.#due !== undefined) this.checked++
    this.#due = undefined
    let next = this.#ahead ?? (await this.#pull())
    this.#ahead = undefined
    while (next?.size === 0) next = await this.#pull()
    if (next === undefined) return
    this.#due = next
    this.#lastDue = next.size
    this.#ahead = await this.#pull()
    while (this.#ahead?.size === next.size) {
      if (!this.#ahead.root.equals(next.root)) this.#reportFork(next.size)
      this.#ahead = await this.#pull()
    }
  }

  /** Reads the rest of the stream, and reports what no tree of this size can match. */
  async finish(): Promise<void> {
    const size = this.#state?.size ?? 0
    while (this.#due !== undefined) {
      const { checked } = this
      await this.advance()
      // These were not compared: the entries ended before.
      this.checked = checked
    }
    await this.#reportBeyond(size)
    if (size > 0 && this.#lastDue !== size) {
      const detail = 'no trusted checkpoint covers the last entries'
      this.#findings.add({ kind: this.#isUntrusted ? 'key' : 'checkpoint', index: size, detail })
    }
    // A directory writes the line after the state, so a crash can lose it.
    if (this.#store.kind === 'postgres' && this.#lastStored < size) this.#reportRemoved(size)
  }

  /** The next checkpoint up to the size of the log. */
  async #pull(): Promise<Checkpoint | undefined> {
    for (;;) {
      const step = await this.#stream?.next()
      if (step === undefined || step.done === true) return undefined
      const { what, checkpoint } = step.value
      if (this.#state !== null && checkpoint.origin !== this.#state.origin) {
        this.#report(what, `it belongs to the log "${checkpoint.origin}"`)
      } else if (checkpoint.size <= (this.#state?.size ?? 0)) return checkpoint
      else if (this.#beyond.length < MAX_BEYOND) {
        this.#beyond.push({ what, signed: checkpoint.size })
      }
    }
  }

  /** Yields the trusted checkpoints in the order of their sizes. */
  async *#merge(given: readonly Read[]): AsyncGenerator<Read, undefined> {
    const rest = [...given]
    let last = -1
    for await (const { note, size } of this.#store.checkpoints()) {
      const what = `the checkpoint of size ${size}`
      for (const read of this.#readStored(note, what, size)) {
        if (read.checkpoint.size < last) {
          this.#report(what, 'it is not in the order of the sizes')
          continue
        }
        last = read.checkpoint.size
        while (rest[0] !== undefined && rest[0].checkpoint.size <= last) yield rest.shift()!
        yield read
      }
    }
    yield* rest
    return undefined
  }

  /** Each checkpoint names the size of the one before it, so that a removed one is missed. */
  #readStored(note: string, what: string, size: number): Read[] {
    const found = this.#read(note, what, size)
    const previous = found[0]?.checkpoint.previous
    if (previous !== undefined && previous !== this.#lastStored) this.#reportRemoved(previous)
    this.#lastStored = size
    return found
  }

  /** Opens one checkpoint; reports it and returns nothing if it is not trusted. */
  #read(note: string, what: string, claimed?: number): Read[] {
    const opened = openNote(note, this.#keys)
    if (typeof opened === 'object') {
      const checkpoint = parseCheckpoint(opened.text)
      if (checkpoint === undefined) {
        this.#report(what, 'it is malformed')
        return []
      }
      if (claimed !== undefined && checkpoint.size !== claimed) {
        this.#report(what, `it is signed for size ${checkpoint.size}, not ${claimed}`)
      }
      return [{ what, checkpoint }]
    }
    if (opened === 'unsigned') {
      if (!this.#isUntrusted) {
        const detail = `${what} is not signed by one of the given keys`
        this.#findings.add({ kind: 'key', detail })
      }
      this.#isUntrusted = true
    } else {
      this.#report(what, opened === 'forged' ? 'its signature is forged' : 'it is malformed')
    }
    return []
  }

  /** Reports checkpoints beyond the log's size, unless a log in use has grown since its state was read. */
  async #reportBeyond(size: number): Promise<void> {
    const grown = this.#beyond.length === 0 ? size : ((await this.#store.state())?.size ?? 0)
    for (const { what, signed } of this.#beyond) {
      if (signed <= grown) continue
      const detail = `${what} is signed for ${signed} entries, but the log has ${grown}: it was truncated or rolled back`
      this.#findings.add({ kind: 'rollback', index: grown, detail })
    }
  }

  #reportFork(size: number): void {
    const detail = 'two signed checkpoints of this size differ: the log was forked'
    this.#findings.add({ kind: 'history', index: size, detail })
  }

  #reportRemoved(size: number): void {
    const detail = `the checkpoint of size ${size} was removed`
    this.#findings.add({ kind: 'checkpoint', index: size, detail })
  }

  #report(what: string, problem: string): void {
    this.#findings.add({ kind: 'checkpoint', detail: `${what}: ${problem}` })
  }
}
