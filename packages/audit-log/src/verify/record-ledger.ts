/** Checks that span records: gaps in a writer's numbers, replays, erasures, pruning and open attempts. */
import type { LogState, VerifiableLog } from '../log/log-store.ts'
import type { AuditRecord } from '../record/leaf.ts'
import { mergeRanges, type SeqRange } from '../wal/number-ranges.ts'
import { ErasureCheck } from './erasure-check.ts'
import type { Findings, VerifyReport } from './report.ts'
import { StatementCheck, STATEMENTS, type StatementSettings } from './statement-check.ts'

interface Gap {
  readonly writer: string
  readonly from: number
  readonly to: number
  readonly index: number
}

/** Takes the records in the order of the log. */
export class RecordLedger {
  readonly #findings: Findings
  readonly #statements: StatementCheck
  readonly #erasures: ErasureCheck
  readonly #next = new Map<string, number>()
  readonly #gaps: Gap[] = []
  readonly #declared = new Map<string, SeqRange[]>()
  #declaredLosses = 0
  /** Ids of records of app transactions, which have no numbers. */
  readonly #transactionIds = new Set<string>()
  readonly #attempts = new Set<string>()
  /** The index of the first entry that was not pruned, and the root of those before. */
  #pruned: { before: number; root: Buffer } = { before: 0, root: Buffer.alloc(0) }
  /** Whether entries were missing; then gaps in the numbers are expected. */
  #skipped = false

  constructor(settings: StatementSettings) {
    this.#findings = settings.findings
    this.#statements = new StatementCheck(settings)
    this.#erasures = new ErasureCheck(settings.findings)
  }

  /** Sets the index of the first entry that was not pruned, and the root of those before. */
  beginAt(before: number, root: Buffer): void {
    this.#pruned = { before, root }
  }

  /** Notes that an entry is missing, and with it a number. */
  skip(): void {
    this.#skipped = true
  }

  add(index: number, record: AuditRecord, leaf: string): void {
    this.#count(index, record)
    this.#statements.observe(index, record)
    if (record.phase === 'attempt') this.#attempts.add(record.id)
    else if (record.attemptId !== undefined) this.#attempts.delete(record.attemptId)
    if (record.action.startsWith('audit_log.')) this.#readOwn(index, record)
    if (leaf.includes('"$pii"')) this.#erasures.addCommitments(record)
  }

  /** Compares gaps, pruning and erasures with the records that declare them. */
  async finish(store: VerifiableLog, state: LogState): Promise<void> {
    for (const { writer, from, to, index } of this.#gaps) {
      const declared = mergeRanges(this.#declared.get(writer) ?? [])
      if (declared.some((loss) => loss[0] <= from && loss[1] >= to)) continue
      const detail = `the records ${from} to ${to} of the writer ${writer} are missing, and no record declares it`
      this.#findings.add({ kind: 'gap', index, detail })
    }
    this.#statements.finish(state.minIndex, this.#pruned.root)
    await this.#erasures.compare(store, this.#statements.hasPruning)
  }

  summary(): Pick<VerifyReport, 'writers' | 'declaredLosses' | 'openAttempts' | 'erasedSubjects'> {
    return {
      writers: this.#next.size,
      declaredLosses: this.#declaredLosses,
      openAttempts: this.#attempts.size,
      erasedSubjects: this.#erasures.erased.size,
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
    const expected = next ?? (this.#pruned.before > 0 ? seq : 0)
    if (seq > expected && !this.#skipped) {
      this.#gaps.push({ writer, from: expected, to: seq - 1, index })
    }
    this.#next.set(writer, seq + 1)
  }

  #reportReplay(index: number, id: string): void {
    this.#findings.add({ kind: 'replayed', index, id, detail: 'the record is in the log twice' })
  }

  #readOwn(index: number, record: AuditRecord): void {
    const { id, action, seq } = record
    if (seq === undefined) {
      const detail = `the log never records ${action} in a transaction of the app`
      this.#findings.add({ kind: 'statement', index, id, detail })
      return
    }
    if (STATEMENTS.has(action) && !this.#statements.accept(index, record)) return
    const data = (record.data ?? {}) as Readonly<Record<string, unknown>>
    switch (action) {
      case 'audit_log.gap_recorded':
        return this.#readGap(record.writer, data)
      case 'audit_log.log_recovered':
        return this.#readRecovery(data)
      case 'audit_log.writer_started':
        return this.#readStart(index, data)
      case 'audit_log.subject_erased':
        if (typeof record.resourceId === 'string') this.#erasures.erased.add(record.resourceId)
    }
  }

  #readGap(writer: string, { lost, dropped }: Readonly<Record<string, unknown>>): void {
    this.#declare(writer, lost)
    if (Object.keys(dropped ?? {}).length > 0) this.#declaredLosses++
  }

  /** A recovery names the numbers that are lost, by writer. */
  #readRecovery({ lost }: Readonly<Record<string, unknown>>): void {
    this.#declaredLosses++
    for (const [writer, ranges] of Object.entries(lost ?? {})) this.#declare(writer, ranges)
  }

  #declare(writer: string, value: unknown): void {
    const ranges = rangesIn(value)
    this.#declared.set(writer, [...(this.#declared.get(writer) ?? []), ...ranges])
    this.#declaredLosses += ranges.length
  }

  /** The first record of a writer names the last record that the previous writer left in the spool. */
  #readStart(index: number, { previous, previousSeq }: Readonly<Record<string, unknown>>): void {
    if (typeof previous !== 'string' || typeof previousSeq !== 'number') return
    const next = this.#next.get(previous) ?? (this.#pruned.before > 0 ? Infinity : 0)
    if (next > previousSeq || this.#skipped) return
    this.#gaps.push({ writer: previous, from: next, to: previousSeq, index })
  }
}

/** Reads ranges of numbers; anything else is left out. */
function rangesIn(value: unknown): SeqRange[] {
  return Array.isArray(value)
    ? value.flatMap((range: unknown): SeqRange[] =>
        Array.isArray(range) ? [[Number(range[0]), Number(range[1])]] : [],
      )
    : []
}
