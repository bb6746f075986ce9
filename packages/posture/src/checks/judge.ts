/** Judges every line of the checklist from the facts. */
import { createHash } from 'node:crypto'
import { checklist } from '../checklist/checklist.ts'
import type { Line } from '../checklist/line.ts'
import type { Facts } from '../facts/facts.ts'
import { authenticationChecks } from './authentication.ts'
import { authorizationChecks } from './authorization.ts'
import { browserChecks } from './browser.ts'
import { cookieChecks } from './cookies.ts'
import { headerChecks } from './headers.ts'
import { inputChecks } from './input.ts'
import { leakChecks } from './leaks.ts'
import { manual, type Fault, type Outcome, type Status } from './outcome.ts'
import { recordChecks } from './records.ts'
import { transportChecks } from './transport.ts'

/** A fault with its fingerprint. */
export interface Finding {
  /** A route, a place in a file, or a setting. */
  readonly where: string
  readonly evidence: string
  /** Stays the same while the fault does: 16 hexadecimal digits. */
  readonly fingerprint: string
  /** The baseline lists it. */
  readonly isKnown: boolean
}

/** The result of one line. */
export interface LineResult extends Line {
  readonly status: Status
  readonly evidence: string
  readonly findings: readonly Finding[]
}

const CHECKS: Readonly<Record<string, (facts: Facts) => Outcome>> = {
  ...transportChecks,
  ...headerChecks,
  ...cookieChecks,
  ...browserChecks,
  ...authenticationChecks,
  ...authorizationChecks,
  ...inputChecks,
  ...leakChecks,
  ...recordChecks,
}

/** The ids that have a check; a test compares them with the checklist. */
export const checkedIds: readonly string[] = Object.freeze(Object.keys(CHECKS))

/** Judges all lines in the order of the checklist. @param onLine called before each line. */
export function judge(facts: Facts, onLine: (line: Line, index: number) => void): LineResult[] {
  return checklist.map((line, index) => {
    onLine(line, index)
    const { status, evidence, faults } = completed(facts, line, CHECKS[line.id]!(facts))
    return { ...line, status, evidence, findings: findingsOf(line, faults) }
  })
}

/** A line that rests on requests cannot pass where routes were not reached. */
function completed({ unreached }: Facts, line: Line, outcome: Outcome): Outcome {
  if (unreached.length === 0 || outcome.status !== 'pass' || !line.checkedBy.includes('requests'))
    return outcome
  return manual(
    `${unreached.length} routes were not reached in time (raise budgetMs); the others: ${outcome.evidence}`,
  )
}

function findingsOf({ id }: Line, faults: readonly Fault[]): Finding[] {
  const seen = new Map<string, number>()
  return faults.map(({ where, evidence, key = where }) => {
    // Two equal places in one file differ by their number.
    const count = seen.get(key) ?? 0
    seen.set(key, count + 1)
    const text = JSON.stringify([id, key, count])
    const fingerprint = createHash('sha256').update(text).digest('hex').slice(0, 16)
    return { where, evidence, fingerprint, isKnown: false }
  })
}
