/** Finds what the witnesses cosigned, and what they did not. */
import { parseCheckpoint } from '../log/checkpoint.ts'
import { readCosignature } from '../log/cosignature.ts'
import type { LogState, VerifiableLog } from '../log/log-store.ts'
import { parseNote, type NoteKey } from '../log/signed-note.ts'
import type { AuditRecord } from '../record/leaf.ts'
import type { Findings, WitnessedSize } from './report.ts'

/** What {@link WitnessCheck} needs. */
export interface WitnessCheckSettings {
  readonly store: VerifiableLog
  readonly findings: Findings
  /** The keys of the witnesses; each is required. */
  readonly witnesses: readonly NoteKey[]
  /** The checkpoint that the witness itself serves, if it was asked; `null` if it has none. */
  readonly served?: string | null
  /** Milliseconds since the Unix epoch. */
  readonly time: () => number
}

/** The newest entries may wait for the witness for this long. */
const MAX_LAG_MS = 120_000

/** The cosigned checkpoints must be part of the log; the tree is compared with them elsewhere. */
export class WitnessCheck {
  readonly found: WitnessedSize[] = []
  readonly #settings: WitnessCheckSettings
  /** From here on no witness, or not all of them, cosigned the entries. */
  #covered = Infinity
  #oldestUncovered: number | undefined

  constructor(settings: WitnessCheckSettings) {
    this.#settings = settings
  }

  /** @returns the largest checkpoint that each witness cosigned */
  async open(state: LogState | null): Promise<string[]> {
    const { store, findings, witnesses, served } = this.#settings
    if (witnesses.length === 0) return []
    if (served !== undefined) this.#requireServed(served)
    const notes = [served ?? '', state?.note ?? '', (await store.cosigned()) ?? '']
    const largest: string[] = []
    for (const witness of witnesses) {
      const note = this.#largestOf(notes, witness)
      if (note !== undefined) largest.push(note)
      else {
        this.#covered = 0
        const detail = `no checkpoint of the log is cosigned by "${witness.name}"`
        findings.add({ kind: 'witness', detail })
      }
    }
    return largest
  }

  /** Takes a record; the first one that is not covered has the earliest time. */
  add(index: number, { time }: AuditRecord): void {
    if (index === this.#covered) this.#oldestUncovered = time
  }

  /** Reports entries that waited too long for a cosignature: a rewritten end would look the same. */
  finish(state: LogState | null): void {
    const { findings, time } = this.#settings
    const size = state?.size ?? 0
    if (this.#covered === 0 || this.#covered >= size) return
    if (time() - (this.#oldestUncovered ?? 0) <= MAX_LAG_MS) return
    const detail = `${size - this.#covered} entries from here on are not cosigned: nothing proves that they were not rewritten`
    findings.add({ kind: 'unwitnessed', index: this.#covered, detail })
  }

  /** What the witness serves is newer than any copy of the log that an operator restores. */
  #requireServed(served: string | null): void {
    const { findings, witnesses } = this.#settings
    const note = served ?? ''
    if (witnesses.some((witness) => typeof readCosignature(note, witness) === 'object')) return
    const detail = 'the witness serves no checkpoint of this log with its cosignature'
    findings.add({ kind: 'witness', detail })
  }

  #largestOf(notes: readonly string[], witness: NoteKey): string | undefined {
    let best: (WitnessedSize & { readonly note: string }) | undefined
    for (const note of notes) {
      const cosignature = readCosignature(note, witness)
      if (cosignature === 'forged') {
        const detail = `the cosignature of "${witness.name}" is forged`
        this.#settings.findings.add({ kind: 'witness', detail })
      }
      if (typeof cosignature === 'string') continue
      const size = parseCheckpoint(parseNote(note)?.text ?? '')?.size ?? -1
      const isBetter = size > (best?.size ?? -1)
      if (isBetter) best = { name: witness.name, size, time: cosignature.time, note }
    }
    if (best === undefined) return undefined
    const { note, ...found } = best
    this.found.push(found)
    this.#covered = Math.min(this.#covered, found.size)
    return note
  }
}
