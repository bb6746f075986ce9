/** The findings of a verification, and its report. */

/** The kinds of findings. */
export type FindingKind =
  | 'edited'
  | 'reordered'
  | 'missing'
  | 'inserted'
  | 'replayed'
  | 'column'
  | 'tile'
  | 'checkpoint'
  | 'history'
  | 'rollback'
  | 'pruned'
  | 'erasure'
  | 'blob'
  | 'value'
  | 'state'
  | 'statement'
  | 'witness'
  | 'unwitnessed'
  | 'malformed'
  | 'key'
  | 'gap'

/** One finding. */
export interface Finding {
  readonly kind: FindingKind
  readonly index?: number
  /** The id of the record. */
  readonly id?: string
  readonly detail: string
}

/** What a witness cosigned. */
export interface WitnessedSize {
  readonly name: string
  readonly size: number
  /** Milliseconds since the Unix epoch. */
  readonly time: number
}

/** The result of a verification. */
export interface VerifyReport {
  readonly origin: string
  readonly size: number
  readonly minIndex: number
  readonly entries: number
  readonly checkpoints: number
  readonly columns: number
  readonly writers: number
  readonly declaredLosses: number
  readonly openAttempts: number
  readonly erasedSubjects: number
  /** Whether a checkpoint from outside was compared. */
  readonly pinned: boolean
  /** The largest checkpoint that each of the required witnesses cosigned. */
  readonly witnesses: readonly WitnessedSize[]
  readonly findings: readonly Finding[]
  /** The number of findings of each kind; `findings` has the first 20 of each. */
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>
  readonly elapsedMs: number
  /** 0 valid, 1 tampered, 2 incomplete, 3 untrusted key. */
  readonly exitCode: 0 | 1 | 2 | 3
}

const MAX_OF_A_KIND = 20
/** Kinds that do not prove intent. */
const INCOMPLETE = new Set<FindingKind>(['gap', 'unwitnessed'])

/** Counts all findings, and keeps the first 20 of each kind. */
export class Findings {
  readonly list: Finding[] = []
  readonly counts: Partial<Record<FindingKind, number>> = {}

  add(finding: Finding): void {
    const count = (this.counts[finding.kind] ?? 0) + 1
    this.counts[finding.kind] = count
    if (count <= MAX_OF_A_KIND) this.list.push(finding)
  }

  /** Tampering counts more than an untrusted key, which counts more than missing records. */
  exitCode(): 0 | 1 | 2 | 3 {
    const kinds = Object.keys(this.counts) as FindingKind[]
    if (kinds.some((kind) => kind !== 'key' && !INCOMPLETE.has(kind))) return 1
    if (kinds.includes('key')) return 3
    return kinds.length > 0 ? 2 : 0
  }
}

const VERDICTS = ['OK', 'TAMPERED', 'INCOMPLETE', 'UNTRUSTED KEY'] as const

/** The report for a terminal. */
export function formatReport(report: VerifyReport): string {
  const { entries, elapsedMs, findings, counts } = report
  const rate = Math.round((entries / Math.max(elapsedMs, 1)) * 1000)
  const lines = [
    `audit-log verify  ${printable(report.origin)}`,
    ` checkpoint   ${report.size} entries${report.pinned ? ', continues the given checkpoint' : ''}`,
    ` history      ${report.checkpoints} checkpoints${report.minIndex > 0 ? `, entries before ${report.minIndex} pruned` : ''}`,
    ` entries      ${entries} hashed${report.columns > 0 ? `, ${report.columns} compared with their columns` : ''}`,
    ` writers      ${report.writers}, declared losses ${report.declaredLosses}, attempts without outcome ${report.openAttempts}`,
    ` erasure      ${report.erasedSubjects} subjects`,
    ...report.witnesses.map(formatWitness),
    ...findings.map(formatFinding),
    ...Object.entries(counts).flatMap(([kind, count]) =>
      count > MAX_OF_A_KIND ? [` … ${count - MAX_OF_A_KIND} more of kind ${kind}`] : [],
    ),
    ` ${VERDICTS[report.exitCode]} in ${(elapsedMs / 1000).toFixed(1)} s (${rate} entries/s)`,
    report.pinned || report.witnesses.length > 0 ? '' : UNWITNESSED,
  ]
  return `${lines.filter((line) => line !== '').join('\n')}\n`
}

const UNWITNESSED =
  ' Not proven: that this is the whole log. A holder of the signing key can present another log, and an\n' +
  ' operator an old copy, and both verify. Compare with a checkpoint kept elsewhere (--checkpoint FILE),\n' +
  ' or require what a witness cosigned (--witness KEY)'

function formatWitness({ name, size, time }: WitnessedSize): string {
  const at = new Date(time).toISOString()
  return ` witness      ${printable(name)} cosigned ${size} entries at ${at}`
}

function formatFinding({ kind, index, id, detail }: Finding): string {
  const place = index === undefined ? '' : ` entry ${index}`
  const name = id === undefined ? '' : ` (id ${printable(id)})`
  return ` x ${kind}${place}${name}: ${printable(detail)}`
}

/** Replaces control characters, so that a record cannot send commands to the terminal. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 300)
}
