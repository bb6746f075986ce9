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

type LateCheck = () => Promise<Fault | undefined>

/** Collects reports between {@link ValidationRun.start} and {@link ValidationRun.end}. */
export class ValidationRun implements Report {
  /** Whether a check reported something whose place is not known yet. */
  hasNews = false
  #news: ('sanitized' | LateCheck)[] = []
  #entries: Entry[] = []

  start(): void {
    this.hasNews = false
    this.#news = []
    this.#entries = []
  }

  sanitized(): void {
    this.#news.push('sanitized')
    this.hasNews = true
  }

  later(check: LateCheck): void {
    this.#news.push(check)
    this.hasNews = true
  }

  /** Says where the check has read that has just reported. @param place its place in the schema */
  place(pointer: string, place: string): void {
    for (const report of this.#news.splice(0)) {
      this.#entries.push(
        report === 'sanitized'
          ? { field: { pointer, place } }
          : { check: checkAt(report, pointer) },
      )
    }
    this.hasNews = false
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

function checkAt(check: LateCheck, pointer: string): () => Promise<LateFault | undefined> {
  return async () => {
    const found = await check()
    return found && { ...found, pointer }
  }
}
