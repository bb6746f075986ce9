/** The checkpoints of a log, one after another: each signed, each the root that the entries lead to. */
import { openNote, parseCheckpoint, type Checkpoint, type NoteKey } from '../log/note.ts'
import type { LogState, LogStore } from '../store/log-store.ts'
import type { Findings } from './report.ts'

const PAGE = 10_000

/** Knows at which sizes the tree has to be compared, and with what. */
export class CheckpointTrail {
  /** How many were compared. */
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

  /** Reads every checkpoint, the log's own last one and the pinned one. */
  async open(state: LogState | null, pinned: string | undefined): Promise<void> {
    const due = new Map<number, Checkpoint>()
    const beyond: { what: string; signed: number }[] = []
    const size = state?.size ?? 0
    const add = (note: string, what: string, claimed?: number) => {
      const checkpoint = this.#read(note, what)
      if (checkpoint === undefined) return
      if (claimed !== undefined && checkpoint.size !== claimed) {
        this.#tell(what, `it is signed for the size ${checkpoint.size}`)
      }
      if (state !== null && checkpoint.origin !== state.origin) {
        return this.#tell(what, 'it belongs to another log')
      }
      if (checkpoint.size > size) return void beyond.push({ what, signed: checkpoint.size })
      const other = due.get(checkpoint.size)
      if (other !== undefined && !other.root.equals(checkpoint.root)) {
        this.#findings.add({
          kind: 'history',
          index: checkpoint.size,
          detail: `two signed checkpoints of this size differ: the log was forked`,
        })
      }
      due.set(checkpoint.size, checkpoint)
    }
    if (state !== null && state.size > 0) add(state.note, 'the last checkpoint', state.size)
    for (let after = -1; ;) {
      const page = await this.#store.checkpoints(after, PAGE)
      for (const stored of page) add(stored.note, `the checkpoint ${stored.size}`, stored.size)
      if (page.length < PAGE) break
      after = page.at(-1)!.size
    }
    if (pinned !== undefined) add(pinned, 'the checkpoint given')
    // A log that is alive may have grown since its state was read.
    const grown = beyond.length === 0 ? size : ((await this.#store.state())?.size ?? 0)
    for (const { what, signed } of beyond) if (signed > grown) this.#cut(what, signed, grown)
    this.#due = [...due.values()].filter((c) => c.size > 0).toSorted((a, b) => a.size - b.size)
    if (size > 0 && this.#due.at(-1)?.size !== size) {
      const detail = 'no trusted checkpoint covers the last entries'
      this.#findings.add({ kind: this.#isUntrusted ? 'key' : 'checkpoint', index: size, detail })
    }
  }

  /** Whether a checkpoint has this size. */
  isDue(size: number): boolean {
    return this.#due[this.#next]?.size === size
  }

  /** Whether this is the root; the trail goes on when it is. */
  compare(size: number, root: Buffer): boolean {
    const due = this.#due[this.#next]
    if (due?.size !== size || !due.root.equals(root)) return false
    this.#next++
    this.checked++
    return true
  }

  /** Tells that neither entries nor tiles lead to the root, and goes on behind it. */
  refuse(from: number, to: number): void {
    this.#next++
    this.checked++
    this.#findings.add({
      kind: 'history',
      index: from,
      detail: `the entries ${from} to ${to - 1} are not those that the checkpoint ${to} was signed for`,
    })
  }

  #read(note: string, what: string): Checkpoint | undefined {
    const opened = openNote(note, this.#keys)
    if (typeof opened === 'object') {
      const checkpoint = parseCheckpoint(opened.text)
      if (checkpoint === undefined) this.#tell(what, 'it is malformed')
      return checkpoint
    }
    if (opened === 'unsigned') {
      if (!this.#isUntrusted) {
        const detail = `${what} is not signed by a key that was given`
        this.#findings.add({ kind: 'key', detail })
      }
      this.#isUntrusted = true
    } else {
      this.#tell(what, opened === 'forged' ? 'its signature is forged' : 'it is malformed')
    }
    return undefined
  }

  #cut(what: string, signed: number, size: number): void {
    const detail = `${what} was signed for ${signed} entries and the log has ${size}: it was cut, or put back`
    this.#findings.add({ kind: 'rollback', index: size, detail })
  }

  #tell(what: string, problem: string): void {
    this.#findings.add({ kind: 'checkpoint', detail: `${what}: ${problem}` })
  }
}
