/** One line of the checklist, as data. */

/** How much harm a failure of the line can do. */
export type Severity = 'critical' | 'high' | 'medium' | 'low'

/** What answers a line: requests, the routes and settings of the app, its sources, or a person. */
export type Checker = 'requests' | 'app' | 'source' | 'project' | 'environment' | 'person'

/** What a line says, without its id. */
export interface LineText {
  /** The promise, as a sentence that is true where the line passes. */
  readonly title: string
  readonly severity: Severity
  /** What answers the line; `person` alone: the line is always manual. */
  readonly checkedBy: readonly Checker[]
  /** What to do where the line fails. */
  readonly fix: string
  /** Requirements of OWASP ASVS 5.0 that the line serves; empty: none asks for it. */
  readonly asvs: readonly string[]
}

/** One line of the checklist. */
export interface Line extends LineText {
  /** The stable name: `HDR-03`. */
  readonly id: string
  /** The heading under which it is printed: `headers`. */
  readonly section: string
}

/** The lines of one section by their ids. */
export interface Section {
  readonly name: string
  /** One sentence for the generated page. */
  readonly about: string
  readonly lines: Readonly<Record<string, LineText>>
}
