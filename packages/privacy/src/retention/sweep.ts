/** The sweep: finds and removes what is older than its retention period, source by source. */
import { uuidV7, type Clock } from '@parapet/kit'
import { bounded } from '../bounded-call.ts'
import type { RegisteredSource } from '../sources/source.ts'
import type { Records } from '../storage/records.ts'

/** What a sweep did in one source. */
interface SourceSweep {
  readonly source: string
  /** Records older than this were found, in milliseconds since the Unix epoch. */
  readonly before: number
  readonly found: number
  readonly removed: number
  /** Code or name of the error, if the source failed. */
  readonly error?: string
}

/** The report of a sweep. */
export interface SweepReport {
  readonly id: string
  readonly at: number
  readonly dryRun: boolean
  readonly sources: readonly SourceSweep[]
}

/** What a sweep needs. */
export interface SweepPorts {
  readonly sources: readonly RegisteredSource[]
  readonly records: Records
  readonly clock: Clock
  readonly deadlineMs: number
  readonly isHeld: (subject: string) => Promise<boolean>
  readonly reasonOf: (error: unknown) => string
  readonly signal: AbortSignal
}

const DAY_MS = 86_400_000
const KEPT_REPORTS = 100

/** Runs a sweep and stores its report. A source that fails does not stop the others. */
export async function sweep(ports: SweepPorts, dryRun: boolean): Promise<SweepReport> {
  const now = ports.clock.now()
  const sources: SourceSweep[] = []
  for (const source of ports.sources) {
    if (source.retentionDays === null || source.sweep === undefined) continue
    const before = now - source.retentionDays * DAY_MS
    sources.push(await sweepSource(ports, source, { before, dryRun }))
  }
  const report: SweepReport = { id: uuidV7(), at: now, dryRun, sources }
  await storeReport(ports.records, report)
  return report
}

async function sweepSource(
  ports: SweepPorts,
  { name, sweep: run }: RegisteredSource,
  { before, dryRun }: { before: number; dryRun: boolean },
): Promise<SourceSweep> {
  const { isHeld, reasonOf } = ports
  try {
    const { found, removed } = await bounded(
      ports,
      `The source "${name}"`,
      ports.signal,
      (signal) => run!({ before, dryRun, isHeld, signal }),
    )
    return { source: name, before, found, removed }
  } catch (error) {
    return { source: name, before, found: 0, removed: 0, error: reasonOf(error) }
  }
}

async function storeReport(records: Records, report: SweepReport): Promise<void> {
  const columns = { kind: 'sweep', owner: null, topic: null, uniqueKey: null } as const
  await records.insert({ ...columns, id: report.id, time: report.at, body: report })
  const kept = await records.list('sweep', { limit: KEPT_REPORTS + 10 })
  for (const { id } of kept.slice(KEPT_REPORTS)) await records.remove('sweep', id)
}

/** The reports, the latest first, at most 100. */
export async function listSweeps(records: Records): Promise<SweepReport[]> {
  const found = await records.list<SweepReport>('sweep', { limit: KEPT_REPORTS })
  return found.map(({ body }) => body)
}
