/** What the records say of each other: writers that count, losses that were told, erasures, pruning, attempts. */
import type { AuditRecord } from '../record/leaf.ts'
import { commitmentsIn } from '../record/personal.ts'
import { mergeRanges, type SeqRange } from '../record/ranges.ts'
import type { LogState, LogStore } from '../store/log-store.ts'
import type { Findings, VerifyReport } from './report.ts'

interface Gap {
  readonly writer: string
  readonly from: number
  readonly to: number
  readonly index: number
}

const PAGE = 1000

/** Takes the records in order. */
export class RecordLedger {
  readonly #findings: Findings
  readonly #next = new Map<string, number>()
  readonly #gaps: Gap[] = []
  readonly #declared = new Map<string, SeqRange[]>()
  #declaredLosses = 0
  /** Ids of records that no writer numbered. */
  readonly #transactionIds = new Set<string>()
  readonly #attempts = new Set<string>()
  readonly #erased = new Set<string>()
  /** Commitments by subject. */
  readonly #pledged = new Map<string, number>()
  #prunedBefore = 0
  /** Whether entries were missing, so that numbers may be too. */
  #skipped = false

  constructor(findings: Findings) {
    this.#findings = findings
  }

  /** An entry is missing, and so are the numbers it had. */
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
        this.#pledged.set(subject, (this.#pledged.get(subject) ?? 0) + 1)
      }
    }
  }

  /** Compares what was told with what is stored. */
  async finish(store: LogStore, state: LogState): Promise<void> {
    for (const { writer, from, to, index } of this.#gaps) {
      const declared = mergeRanges(this.#declared.get(writer) ?? [])
      if (declared.some((loss) => loss[0] <= from && loss[1] >= to)) continue
      const detail = `writer ${writer} lacks its records ${from} to ${to}, and nothing tells why`
      this.#findings.add({ kind: 'gap', index, detail })
    }
    if (state.minIndex > this.#prunedBefore) {
      const detail = `entries before ${state.minIndex} were removed, and no record tells of it`
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
      if (this.#transactionIds.has(id)) this.#replayed(index, id)
      this.#transactionIds.add(id)
      return
    }
    const next = this.#next.get(writer)
    if (next !== undefined && seq < next) return this.#replayed(index, id)
    // Of a pruned log the beginning of a writer is unknown.
    const expected = next ?? (this.#prunedFrom > 0 ? seq : 0)
    if (seq > expected && !this.#skipped) {
      this.#gaps.push({ writer, from: expected, to: seq - 1, index })
    }
    this.#next.set(writer, seq + 1)
  }

  #replayed(index: number, id: string): void {
    this.#findings.add({ kind: 'replayed', index, id, detail: 'the record is in the log already' })
  }

  #prunedFrom = 0

  /** Tells that the log begins at this index. */
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

  /** A writer names the last record that the one before it left in the same spool. */
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
        const isTold = this.#erased.has(subject)
        if (erasedAt !== null && !isTold && this.#prunedBefore === 0) {
          this.#tell(subject, 'was erased, and no record tells of it: the erasure is forged')
        } else if (erasedAt === null && isTold) {
          this.#tell(subject, 'was to be erased, and its keys were put back or never destroyed')
        } else if (!isTold && (keys === 0 || values < (this.#pledged.get(subject) ?? 0))) {
          this.#tell(subject, 'lacks keys or values, and no record tells of an erasure')
        }
      }
      if (page.length < PAGE) break
      after = page.at(-1)!.subject
    }
    for (const subject of this.#pledged.keys()) {
      if (stored.has(subject) || this.#erased.has(subject)) continue
      this.#tell(subject, 'lacks keys and values, and no record tells of an erasure')
    }
  }

  #tell(subject: string, problem: string): void {
    this.#findings.add({ kind: 'erasure', detail: `subject ${subject} ${problem}` })
  }
}

/** Whoever may write to the inbox may have written anything here. */
function rangesIn(value: unknown): SeqRange[] {
  return Array.isArray(value)
    ? value.flatMap((range: unknown): SeqRange[] =>
        Array.isArray(range) ? [[Number(range[0]), Number(range[1])]] : [],
      )
    : []
}
