/** What a check concludes. */
import type { SourceHit } from '../facts/facts.ts'

/** The result of a line. */
export type Status = 'pass' | 'fail' | 'manual' | 'not-applicable'

/** One place where a line fails. */
export interface Fault {
  /** A route such as `GET /users`, a place in a file, or a setting. */
  readonly where: string
  /** What was seen. */
  readonly evidence: string
  /** What identifies the fault over time, where `where` holds a line number. @default `where` */
  readonly key?: string
}

/** The result of a check. */
export interface Outcome {
  readonly status: Status
  /** What the result rests on, in one sentence. */
  readonly evidence: string
  readonly faults: readonly Fault[]
}

/** The line holds. */
export function pass(evidence: string): Outcome {
  return { status: 'pass', evidence, faults: [] }
}

/** A person must answer; the evidence says what was found and what to look at. */
export function manual(evidence: string): Outcome {
  return { status: 'manual', evidence, faults: [] }
}

/** The app has nothing that the line is about. */
export function notApplicable(evidence: string): Outcome {
  return { status: 'not-applicable', evidence, faults: [] }
}

/** The line does not hold. */
export function fail(faults: readonly Fault[]): Outcome {
  const [first] = faults
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : ''
  return { status: 'fail', evidence: `${first?.where}: ${first?.evidence}${more}`, faults }
}

/** Fails with faults, or returns what holds without them. */
export function failOr(faults: readonly Fault[], otherwise: Outcome): Outcome {
  return faults.length > 0 ? fail(faults) : otherwise
}

/** The faults of places in the source that are certain. */
export function faultsOf(hits: readonly SourceHit[]): Fault[] {
  return hits.filter(({ certainty }) => certainty === 'sure').map(faultOf)
}

function faultOf({ place, file, rule, excerpt }: SourceHit): Fault {
  return { where: place, evidence: excerpt, key: `${file}:${rule}:${excerpt}` }
}

/** Names at most five, and counts the rest. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ')
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown
}

/** The number with the noun in the right form. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
