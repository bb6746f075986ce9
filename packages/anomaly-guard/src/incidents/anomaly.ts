/** An anomaly: what was detected, kept for the timeline. It holds no payload and no secret. */
import type { Severity } from '@parapet/kit'
import type { Detection, Evidence, Label, Mode, Subject } from '../rules/rule.ts'

/** What an operator said about an anomaly. */
export type Verdict = 'false-positive' | 'true-positive'

/** One anomaly. Further detections of its rule and group within the window only count. */
export interface Anomaly {
  /** UUIDv7. */
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly rule: string
  readonly label: Label
  readonly severity: Severity
  /** The mode of the rule when it was detected. */
  readonly mode: Mode
  readonly subject: Subject
  readonly evidence: Evidence
  readonly reasons?: readonly string[]
  readonly route?: string
  readonly verdict?: Verdict
}

/** Makes the anomaly of a detection. */
export function createAnomaly(
  id: string,
  time: number,
  mode: Mode,
  { rule, label, severity, subject, evidence, reasons, route }: Detection,
): Anomaly {
  return Object.freeze({
    id,
    time,
    rule,
    label,
    severity,
    mode,
    subject,
    evidence,
    ...(reasons === undefined ? undefined : { reasons }),
    ...(route === undefined ? undefined : { route }),
  })
}

/** Rules that are not over a window. */
export const otherRules = ['inspection', 'behaviour', 'geo', 'takeover'] as const

const MAX_TEXT = 16_384
/** The latest time that a `Date` holds. */
const MAX_TIME = 8.64e15

/** Reads an anomaly as the store returns it. @returns `undefined` where the text is none. */
export function parseAnomaly(text: string): Anomaly | undefined {
  if (text.length > MAX_TEXT) return undefined
  try {
    const value = JSON.parse(text) as Anomaly
    const { id, time, rule, label, severity, subject, evidence } = value
    const isValid =
      [id, rule, label, severity].every((each) => typeof each === 'string') &&
      Number.isSafeInteger(time) &&
      [subject, evidence].every((each) => typeof each === 'object' && each !== null) &&
      [...Object.values<unknown>({ ...subject }), value.route ?? ''].every(
        (each) => typeof each === 'string',
      ) &&
      Object.values(evidence).every((each) => typeof each === 'number') &&
      Math.abs(time) <= MAX_TIME &&
      (value.reasons === undefined ||
        (Array.isArray(value.reasons) && value.reasons.every((each) => typeof each === 'string')))
    return isValid ? Object.freeze(value) : undefined
  } catch {
    return undefined
  }
}
