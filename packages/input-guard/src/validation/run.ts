/** What the checks of one validation report. Validation is synchronous, so one object serves all requests. */
import type { Fault, Report } from '../types/check.ts'

/** A fault that is found after the validation. */
export interface LateFault extends Fault {
  readonly pointer: string
}

/** A field from which something was removed. */
export interface SanitizedField {
  readonly pointer: string
  /** Its place in the schema: clients can invent names, but no places. */
  readonly place: string
}

interface Entry {
  readonly field?: SanitizedField
  readonly check?: () => Promise<LateFault | undefined>
  readonly undo?: () => void
}

/** Collects reports between {@link ValidationRun.start} and {@link ValidationRun.end}. */
export class ValidationRun implements Report {
  /** JSON Pointer of the value that is being checked. */
  pointer = ''
  /** Its place in the schema. */
  place = ''
  #entries: Entry[] = []

  start(): void {
    this.#entries = []
  }

  sanitized(): void {
    this.#entries.push({ field: { pointer: this.pointer, place: this.place } })
  }

  later(check: () => Promise<Fault | undefined>): void {
    const { pointer } = this
    this.#entries.push({
      check: async () => {
        const found = await check()
        return found && { ...found, pointer }
      },
    })
  }

  /** Changes a member; {@link rollback} restores it. */
  change(parent: Record<string | number, unknown>, name: string | number, value: unknown): void {
    const before = parent[name]
    parent[name] = value
    this.#entries.push({ undo: () => void (parent[name] = before) })
  }

  /** Where {@link rollback} returns to. */
  mark(): number {
    return this.#entries.length
  }

  /** Forgets what a branch reported and changed that did not match. */
  rollback(mark: number): void {
    for (const { undo } of this.#entries.splice(mark).toReversed()) undo?.()
  }

  /** What was reported, or `undefined`: nothing. */
  end():
    | {
        readonly sanitized: readonly SanitizedField[]
        readonly later: readonly (() => Promise<LateFault | undefined>)[]
      }
    | undefined {
    if (this.#entries.length === 0) return undefined
    const sanitized = this.#entries.flatMap(({ field }) => field ?? [])
    const later = this.#entries.flatMap(({ check }) => check ?? [])
    return sanitized.length === 0 && later.length === 0 ? undefined : { sanitized, later }
  }
}
