/** Checks that span records: gaps in a writer's numbers, erasures, pruning and open attempts. */
import type { LogState, LogStore } from '../log/log-store.ts'
import type { AuditRecord } from '../record/leaf.ts'
import { commitmentsIn } from '../record/personal-data.ts'
import { mergeRanges, type SeqRange } from '../wal/number-ranges.ts'
import type { Findings, VerifyReport } from './report.ts'

interface Gap {
  readonly writer: string
  readonly from: number
  readonly to: number
  readonly index: number
}

const PAGE = 1000

/** Takes the records in the order of the log. */
export class RecordLedger {
  readonly #findings: Findings
  readonly #next = new Map<string, number>()
  readonly #gaps: Gap[] = []
  readonly #declared = new Map<string, SeqRange[]>()
  #declaredLosses = 0
  /** Ids of records of app transactions, which have no numbers. */
  readonly #transactionIds = new Set<string>()
  readonly #attempts = new Set<string>()
  readonly #erased = new Set<string>()
  /** The number of commitments by subject. */
  readonly #commitments = new Map<string, number>()
  #prunedBefore = 0
  /** Whether entries were missing; then gaps in the numbers are expected. */
  #skipped = false

  constructor(findings: Findings) {
    this.#findings = findings
  }

  /** Notes that an entry is missing, and with it a number. */
  skip(): void {
    this.#skipped = true
  }

  add(index: number, record: AuditRecord, leaf: string): void {
    this.#count(index, record)
    if (record.phase === 'attempt') this.#attempts.add(record.id)
    else if (record.attemptId !== undefined) this.#attempts.delete(record.attemptId)
    if (record.action.startsWith('audit_log.')) this.#readOwn(index, record)
    if (leaf.includes('"$pii"')) {
      for (const { subject } of commitmentsIn(record)) {
        this.#commitments.set(subject, (this.#commitments.get(subject) ?? 0) + 1)
      }
    }
  }

  /** Compares gaps, pruning and erasures with the records that declare them. */
  async finish(store: LogStore, state: LogState): Promise<void> {
    for (const { writer, from, to, index } of this.#gaps) {
      const declared = mergeRanges(this.#declared.get(writer) ?? [])
      if (declared.some((loss) => loss[0] <= from && loss[1] >= to)) continue
      const detail = `the records ${from} to ${to} of the writer ${writer} are missing, and no record declares it`
      this.#findings.add({ kind: 'gap', index, detail })
    }
    if (state.minIndex > this.#prunedBefore) {
      const detail = `entries before ${state.minIndex} were removed, and no record declares it`
      this.#findings.add({ kind: 'pruned', index: state.minIndex, detail })
    }
    await this.#compareSubjects(store)
  }

  summary(): Pick<VerifyReport, 'writers' | 'declaredLosses' | 'openAttempts' | 'erasedSubjects'> {
    return {
      writers: this.#next.size,
      declaredLosses: this.#declaredLosses,
      openAttempts: this.#attempts.size,
      erasedSubjects: this.#erased.size,
    }
  }

  #count(index: number, { writer, seq, id }: AuditRecord): void {
    if (seq === undefined) {
      if (this.#transactionIds.has(id)) this.#reportReplay(index, id)
      this.#transactionIds.add(id)
      return
    }
    const next = this.#next.get(writer)
    if (next !== undefined && seq < next) return this.#reportReplay(index, id)
    // In a pruned log, the first number of a writer is unknown.
    const expected = next ?? (this.#prunedFrom > 0 ? seq : 0)
    if (seq > expected && !this.#skipped) {
      this.#gaps.push({ writer, from: expected, to: seq - 1, index })
    }
    this.#next.set(writer, seq + 1)
  }

  #reportReplay(index: number, id: string): void {
    this.#findings.add({ kind: 'replayed', index, id, detail: 'the record is in the log twice' })
  }

  #prunedFrom = 0

  /** Sets the index of the first entry that was not pruned. */
  beginAt(index: number): void {
    this.#prunedFrom = index
  }

  #readOwn(index: number, record: AuditRecord): void {
    const data = (record.data ?? {}) as Readonly<Record<string, unknown>>
    switch (record.action) {
      case 'audit_log.gap_recorded':
        return this.#readGap(record.writer, data)
      case 'audit_log.writer_started':
        return this.#readStart(index, data)
      case 'audit_log.subject_erased':
        if (typeof record.resourceId === 'string') this.#erased.add(record.resourceId)
        return
      case 'audit_log.log_pruned':
        this.#prunedBefore = Math.max(this.#prunedBefore, Number(data['before']) || 0)
    }
  }

  #readGap(writer: string, { lost, dropped }: Readonly<Record<string, unknown>>): void {
    const ranges = rangesIn(lost)
    this.#declared.set(writer, [...(this.#declared.get(writer) ?? []), ...ranges])
    const hasDropped = Object.keys(dropped ?? {}).length > 0
    this.#declaredLosses += ranges.length + (hasDropped ? 1 : 0)
  }

  /** The first record of a writer names the last record that the previous writer left in the spool. */
  #readStart(index: number, { previous, previousSeq }: Readonly<Record<string, unknown>>): void {
    if (typeof previous !== 'string' || typeof previousSeq !== 'number') return
    const next = this.#next.get(previous) ?? (this.#prunedFrom > 0 ? Infinity : 0)
    if (next > previousSeq || this.#skipped) return
    this.#gaps.push({ writer: previous, from: next, to: previousSeq, index })
  }

  async #compareSubjects(store: LogStore): Promise<void> {
    const stored = new Set<string>()
    for (let after = ''; ;) {
      const page = await store.subjects(after, PAGE)
      for (const { subject, keys, values, erasedAt } of page) {
        stored.add(subject)
        const isDeclared = this.#erased.has(subject)
        if (erasedAt !== null && !isDeclared && this.#prunedBefore === 0) {
          this.#report(subject, 'was erased, but no record declares it: the erasure is forged')
        } else if (erasedAt === null && isDeclared) {
          this.#report(
            subject,
            'was erased by a record, but its keys were restored or never deleted',
          )
        } else if (!isDeclared && (keys === 0 || values < (this.#commitments.get(subject) ?? 0))) {
          this.#report(subject, 'has missing keys or values, but no record declares an erasure')
        }
      }
      if (page.length < PAGE) break
      after = page.at(-1)!.subject
    }
    for (const subject of this.#commitments.keys()) {
      if (stored.has(subject) || this.#erased.has(subject)) continue
      this.#report(subject, 'has no keys and values, but no record declares an erasure')
    }
  }

  #report(subject: string, problem: string): void {
    this.#findings.add({ kind: 'erasure', detail: `the subject ${subject} ${problem}` })
  }
}

/** The value may be anything, because other processes can write to the inbox. */
function rangesIn(value: unknown): SeqRange[] {
  return Array.isArray(value)
    ? value.flatMap((range: unknown): SeqRange[] =>
        Array.isArray(range) ? [[Number(range[0]), Number(range[1])]] : [],
      )
    : []
}
