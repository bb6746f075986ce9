/** Collects what is wrong with a playbook, each with its place. */
import { PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK } from '../errors.ts'

/** A path in the document: `['phases', 'containment', 'actions', 0]`. */
export type DocumentPath = readonly (string | number)[]

/** Where a member is written: `file:line:column`. */
export type Locate = (path: DocumentPath, isKey?: boolean) => string

const MAX_FAULTS = 20

/** The faults of one document. */
export class PlaybookFaults {
  readonly #locate: Locate
  readonly #lines: string[] = []

  constructor(locate: Locate) {
    this.#locate = locate
  }

  /** @param problem continues a sentence that begins with the place. @param isKey points to the name of the member. */
  add(path: DocumentPath, problem: string, isKey = false): void {
    this.#lines.push(`  ${this.#locate(path, isKey)}: ${problem}`)
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0
  }

  /** @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK */
  throwIfAny(): void {
    if (this.isEmpty) return
    const shown = this.#lines.slice(0, MAX_FAULTS)
    const more = this.#lines.length - shown.length
    if (more > 0) shown.push(`  and ${more} more`)
    throw new PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK(shown.join('\n'))
  }
}

/** Refuses a whole document. @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK */
export function refuseDocument(file: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK(`  ${file}: ${problem}`)
}

/** Shows a path: `phases.containment.actions[0]`. */
export function showPath(path: DocumentPath): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .slice(1)
}
