/** What the checks of one validation report. Validation is synchronous, so one object serves all requests. */
import type { Fault, Report } from '../types/check.ts'

/** A fault that is found after the validation. */
export interface LateFault extends Fault {
  readonly pointer: string
}

/** Collects reports between {@link ValidationRun.start} and {@link ValidationRun.end}. */
export class ValidationRun implements Report {
  /** JSON Pointer of the value that is being checked. */
  pointer = ''
  #sanitized: string[] | undefined
  #later: (() => Promise<LateFault | undefined>)[] | undefined

  start(): void {
    this.#sanitized = this.#later = undefined
  }

  sanitized(): void {
    ;(this.#sanitized ??= []).push(this.pointer)
  }

  later(check: () => Promise<Fault | undefined>): void {
    const { pointer } = this
    ;(this.#later ??= []).push(async () => {
      const found = await check()
      return found && { ...found, pointer }
    })
  }

  /** What was reported, or `undefined`: nothing. */
  end():
    | {
        readonly sanitized: readonly string[]
        readonly later: readonly (() => Promise<LateFault | undefined>)[]
      }
    | undefined {
    if (this.#sanitized === undefined && this.#later === undefined) return undefined
    return { sanitized: this.#sanitized ?? [], later: this.#later ?? [] }
  }
}
