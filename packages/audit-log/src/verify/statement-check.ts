/** Checks the statements that excuse what is missing: gaps and prunings. */
import type { NoteKey } from '../log/signed-note.ts'
import { TILE_WIDTH } from '../log/tiles.ts'
import type { AuditRecord } from '../record/leaf.ts'
import { checkStatement } from '../trust/statements.ts'
import type { Findings } from './report.ts'

/** The actions of statements; each has a signature of the log's key in its data. */
export const STATEMENTS = new Set([
  'audit_log.gap_recorded',
  'audit_log.log_pruned',
  'audit_log.log_recovered',
])

const DAY_MS = 86_400_000
/** Clocks differ, and a record of a long transaction enters the log late. */
const MAX_SKEW_MS = DAY_MS
const CLOCK_AHEAD =
  'a later record is earlier than the end of the retention time, so that the clock was ahead'

interface Pruning {
  readonly index: number
  readonly record: AuditRecord
  readonly earliest: number
}

/** What {@link StatementCheck} needs. */
export interface StatementSettings {
  readonly findings: Findings
  readonly keys: readonly NoteKey[]
  /** The least number of days that records must have been kept. */
  readonly retentionDays: number
  /** The time of now, in milliseconds since the Unix epoch. */
  readonly time: () => number
}

/** Takes the statements in the order of the log. */
export class StatementCheck {
  readonly #settings: StatementSettings
  /** The end of each declared pruning, with the root that it claims. */
  readonly #prunings = new Map<number, string>()
  /** No record after a pruning can be earlier than the end of the retention time. */
  readonly #bounds = new Set<Pruning>()

  constructor(settings: StatementSettings) {
    this.#settings = settings
  }

  /**
   * Takes the time of each later record: a pruning by a clock that was ahead removed records that were
   * still young when the next record was made.
   */
  observe(index: number, { time }: AuditRecord): void {
    for (const pruning of this.#bounds) {
      if (time >= pruning.earliest || index <= pruning.index) continue
      this.#bounds.delete(pruning)
      this.#refuse(pruning.index, pruning.record, CLOCK_AHEAD)
    }
  }

  get hasPruning(): boolean {
    return this.#prunings.size > 0
  }

  /** @returns whether the statement counts: it is signed, and says nothing impossible. */
  accept(index: number, record: AuditRecord): boolean {
    const { keys } = this.#settings
    const signature = checkStatement(record, keys)
    if (signature === 'unknown') {
      const detail = `the statement ${record.action} is not signed by one of the given keys`
      this.#settings.findings.add({ kind: 'key', index, id: record.id, detail })
      return false
    }
    if (signature === 'forged') return this.#refuse(index, record, 'its signature is forged')
    return record.action !== 'audit_log.log_pruned' || this.#acceptPruning(index, record)
  }

  /** Compares what was pruned with what was declared. */
  finish(minIndex: number, prunedRoot: Buffer): void {
    if (minIndex === 0) return
    const { findings } = this.#settings
    const root = this.#prunings.get(minIndex)
    if (root === undefined) {
      const detail = `entries before ${minIndex} were removed, and no record declares it`
      findings.add({ kind: 'pruned', index: minIndex, detail })
    } else if (root !== prunedRoot.toString('base64')) {
      const detail = `the entries before ${minIndex} are not those that the record of the pruning names`
      findings.add({ kind: 'pruned', index: minIndex, detail })
    }
  }

  #acceptPruning(index: number, record: AuditRecord): boolean {
    const { before, newest, root, policy } = (record.data ?? {}) as Readonly<
      Record<string, unknown>
    >
    const isEnd = Number.isSafeInteger(before) && (before as number) % TILE_WIDTH === 0
    if (!isEnd || (before as number) > index || typeof root !== 'string') {
      return this.#refuse(index, record, 'it removes entries that did not exist')
    }
    const days = Math.max(shortestOf(policy), this.#settings.retentionDays)
    if (!(record.time - Number(newest) >= days * DAY_MS)) {
      return this.#refuse(index, record, `it removes records that are younger than ${days} days`)
    }
    if (record.time > this.#settings.time() + MAX_SKEW_MS) {
      return this.#refuse(index, record, 'its time is in the future')
    }
    const earliest = Number(newest) + days * DAY_MS - MAX_SKEW_MS
    this.#bounds.add({ index, record, earliest })
    this.#prunings.set(before as number, root)
    return true
  }

  #refuse(index: number, { id, action }: AuditRecord, problem: string): false {
    const detail = `the statement ${action}: ${problem}`
    this.#settings.findings.add({ kind: 'statement', index, id, detail })
    return false
  }
}

/** The shortest time that a policy keeps a record; without a time it keeps all. */
function shortestOf(policy: unknown): number {
  const { days, byAction } = (policy ?? {}) as {
    days?: unknown
    byAction?: Readonly<Record<string, unknown>>
  }
  const all = [days, ...Object.values(byAction ?? {})].map(Number).filter((count) => count > 0)
  return all.length === 0 ? Infinity : Math.min(...all)
}
