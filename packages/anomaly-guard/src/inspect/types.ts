/** What the inspection of payloads takes and returns. */
import type { attackClasses } from './settings.ts'

/** Kinds of attack that the inspection names. */
export type AttackClass = (typeof attackClasses)[number]

/** The parts of one request. Every part may be left out, and none is trusted. */
export interface RequestParts {
  /** The raw target as received, such as `request.raw.url`; it is decoded here. */
  readonly url?: string
  /** Node's header object. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
  /**
   * The parsed body of any content type: JSON and form objects, the fields of a multipart body (a file
   * by its `filename` only), or the text of any other type, also in a buffer, map or set. Streams and
   * other live objects are not read.
   */
  readonly body?: unknown
}

/** One reason of a score. It never contains the payload. */
export interface Finding {
  readonly class: AttackClass
  /** The id of the rule, such as `sqli.union-select`, or `model`. */
  readonly rule: string
  /** Where, such as `query.id`, `header.referer`, `body.user.name` or `path`; at most 120 characters. */
  readonly location: string
  /** 0 to 1. */
  readonly score: number
}

/** The result of one inspection. */
export interface Inspection {
  /** 0 (nothing found) to 1; the highest of its findings. */
  readonly score: number
  /** The class of the highest finding; `undefined` if nothing was found. */
  readonly class: AttackClass | undefined
  /** True if the score reaches the threshold: what block mode refuses. The model alone never causes it. */
  readonly attack: boolean
  /** The highest findings first, at most 8. */
  readonly reasons: readonly Finding[]
}

/** What the inspection does with one field of a request. */
export type FieldTreatment = 'skip' | 'base64'

/** Settings of {@link Inspector}, compiled once at boot. */
export interface InspectorSettings {
  /** From which score on {@link Inspection.attack} is true; 0 to 1. @default 0.7 */
  readonly threshold?: number
  /**
   * Fields by location: `skip` exempts a field, `base64` also inspects its decoded value. The last name
   * may be `*`: `body.article.*`. @default {}
   */
  readonly fields?: Readonly<Record<string, FieldTreatment>>
  /** Classes that are not looked for. @default [] */
  readonly without?: readonly AttackClass[]
  /** How deep a body is read; what lies deeper is not looked at, and a finding says so. @default 100 */
  readonly maxDepth?: number
  /** How many values and names of a request are read; the same holds for more. @default 50000 */
  readonly maxValues?: number
}

/** Inspects requests; one is made at boot for each set of settings, and it keeps no state. */
export interface Inspector {
  /** Inspects the target, headers and body; call it once for each request. Never throws. */
  inspect(parts: RequestParts): Inspection
}
