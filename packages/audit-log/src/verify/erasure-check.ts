/** Compares the stored keys and values of subjects with the records that commit to and erase them. */
import type { VerifiableLog, SubjectState } from '../log/log-store.ts'
import type { AuditRecord } from '../record/leaf.ts'
import { commitmentsIn } from '../record/personal-data.ts'
import type { Findings } from './report.ts'

const PAGE = 1000

/** Takes the records in the order of the log. */
export class ErasureCheck {
  readonly erased = new Set<string>()
  readonly #findings: Findings
  /** The number of commitments by subject. */
  readonly #commitments = new Map<string, number>()

  constructor(findings: Findings) {
    this.#findings = findings
  }

  addCommitments(record: AuditRecord): void {
    for (const { subject } of commitmentsIn(record)) {
      this.#commitments.set(subject, (this.#commitments.get(subject) ?? 0) + 1)
    }
  }

  /** @param isPruned whether the record of an erasure may be gone. */
  async compare(store: VerifiableLog, isPruned: boolean): Promise<void> {
    // A copy of the tiles has neither keys nor values.
    if (store.kind === 'tiles') return
    const stored = new Set<string>()
    for (let after = ''; ;) {
      const page = await store.subjects(after, PAGE)
      for (const state of page) {
        stored.add(state.subject)
        const problem = this.#problemOf(state, isPruned)
        if (problem !== undefined) this.#report(state.subject, problem)
      }
      if (page.length < PAGE) break
      after = page.at(-1)!.subject
    }
    for (const subject of this.#commitments.keys()) {
      if (stored.has(subject) || this.erased.has(subject)) continue
      this.#report(subject, 'has no keys and values, but no record declares an erasure')
    }
    for (const subject of this.erased) {
      if (!stored.has(subject)) {
        this.#report(subject, 'was erased by a record, but the mark of the erasure was deleted')
      }
    }
  }

  #problemOf(
    { subject, keys, values, erasedAt }: SubjectState,
    isPruned: boolean,
  ): string | undefined {
    const isDeclared = this.erased.has(subject)
    if (erasedAt !== null && !isDeclared && !isPruned) {
      return 'was erased, but no record declares it: the erasure is forged'
    }
    if (erasedAt === null && isDeclared) {
      return 'was erased by a record, but its keys were restored or never deleted'
    }
    const isIncomplete = keys === 0 || values < (this.#commitments.get(subject) ?? 0)
    if (isDeclared || !isIncomplete || erasedAt !== null) return undefined
    return 'has missing keys or values, but no record declares an erasure'
  }

  #report(subject: string, problem: string): void {
    this.#findings.add({ kind: 'erasure', detail: `the subject ${subject} ${problem}` })
  }
}
