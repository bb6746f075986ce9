/** The checkpoints of a log: verifies their signatures and compares their roots. */
import { parseCheckpoint, type Checkpoint } from '../log/checkpoint.ts'
import type { LogState, LogStore } from '../log/log-store.ts'
import { openNote, type NoteKey } from '../log/signed-note.ts'
import type { Findings } from './report.ts'

const PAGE = 10_000

/** A checkpoint with a trusted signature. */
interface Read {
  readonly what: string
  readonly checkpoint: Checkpoint
  /** The size under which the store has it. */
  readonly claimed: number | undefined
}

/** A checkpoint of a larger log than the stored one. */
interface Beyond {
  readonly what: string
  readonly signed: number
}

/** Knows at which sizes the tree must be compared, and with which roots. */
export class CheckpointTrail {
  /** The number of compared checkpoints. */
  checked = 0
  readonly #store: LogStore
  readonly #keys: readonly NoteKey[]
  readonly #findings: Findings
  #due: Checkpoint[] = []
  #next = 0
  #isUntrusted = false

  constructor(store: LogStore, keys: readonly NoteKey[], findings: Findings) {
    this.#store = store
    this.#keys = keys
    this.#findings = findings
  }

  /** Reads all checkpoints, including the one in the state and the pinned one. */
  async open(state: LogState | null, pinned: string | undefined): Promise<void> {
    const due = new Map<number, Checkpoint>()
    const beyond: Beyond[] = []
    const size = state?.size ?? 0
    for await (const read of this.#readAll(state, pinned)) {
      const { what, checkpoint, claimed } = read
      if (claimed !== undefined && checkpoint.size !== claimed) {
        this.#report(what, `it is signed for size ${checkpoint.size}, not ${claimed}`)
      }
      if (state !== null && checkpoint.origin !== state.origin) {
        this.#report(what, `it belongs to the log "${checkpoint.origin}"`)
      } else if (checkpoint.size > size) beyond.push({ what, signed: checkpoint.size })
      else this.#addDue(due, checkpoint)
    }
    await this.#reportBeyond(beyond, size)
    this.#due = [...due.values()].filter((c) => c.size > 0).toSorted((a, b) => a.size - b.size)
    if (size > 0 && this.#due.at(-1)?.size !== size) {
      const detail = 'no trusted checkpoint covers the last entries'
      this.#findings.add({ kind: this.#isUntrusted ? 'key' : 'checkpoint', index: size, detail })
    }
  }

  /** Yields the trusted checkpoints: of the state, of the history, and the pinned one. */
  async *#readAll(state: LogState | null, pinned: string | undefined): AsyncGenerator<Read> {
    if (state !== null && state.size > 0) {
      yield* this.#read(state.note, 'the last checkpoint', state.size)
    }
    for (let after = -1; ;) {
      const page = await this.#store.checkpoints(after, PAGE)
      for (const { note, size } of page) {
        yield* this.#read(note, `the checkpoint of size ${size}`, size)
      }
      if (page.length < PAGE) break
      after = page.at(-1)!.size
    }
    if (pinned !== undefined) yield* this.#read(pinned, 'the given checkpoint')
  }

  #addDue(due: Map<number, Checkpoint>, checkpoint: Checkpoint): void {
    const other = due.get(checkpoint.size)
    if (other !== undefined && !other.root.equals(checkpoint.root)) {
      this.#findings.add({
        kind: 'history',
        index: checkpoint.size,
        detail: 'two signed checkpoints of this size differ: the log was forked',
      })
    }
    due.set(checkpoint.size, checkpoint)
  }

  /** Reports checkpoints beyond the log's size, unless a log in use has grown since its state was read. */
  async #reportBeyond(beyond: readonly Beyond[], size: number): Promise<void> {
    const grown = beyond.length === 0 ? size : ((await this.#store.state())?.size ?? 0)
    for (const { what, signed } of beyond) {
      if (signed <= grown) continue
      const detail = `${what} is signed for ${signed} entries, but the log has ${grown}: it was truncated or rolled back`
      this.#findings.add({ kind: 'rollback', index: grown, detail })
    }
  }

  /** Whether the next checkpoint has this size. */
  isDue(size: number): boolean {
    return this.#due[this.#next]?.size === size
  }

  /** Whether the next checkpoint has this size and root; if so, the trail moves to the one after it. */
  compare(size: number, root: Buffer): boolean {
    const due = this.#due[this.#next]
    if (due?.size !== size || !due.root.equals(root)) return false
    this.#next++
    this.checked++
    return true
  }

  /** Reports that neither entries nor tiles lead to the root, and moves to the next checkpoint. */
  refuse(from: number, to: number): void {
    this.#next++
    this.checked++
    this.#findings.add({
      kind: 'history',
      index: from,
      detail: `the entries ${from} to ${to - 1} differ from the checkpoint of size ${to}`,
    })
  }

  /** Opens one checkpoint; reports it and returns nothing if it is not trusted. */
  #read(note: string, what: string, claimed?: number): Read[] {
    const opened = openNote(note, this.#keys)
    if (typeof opened === 'object') {
      const checkpoint = parseCheckpoint(opened.text)
      if (checkpoint !== undefined) return [{ what, checkpoint, claimed }]
      this.#report(what, 'it is malformed')
    } else if (opened === 'unsigned') {
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

  #report(what: string, problem: string): void {
    this.#findings.add({ kind: 'checkpoint', detail: `${what}: ${problem}` })
  }
}
