/** The first and the last record of a writer. */
import { withDeadline, type Clock, type SecurityEvents } from '@parapet/kit'
import type { ActionRegistry } from '../record/actions.ts'
import type { Spool } from '../wal/spool.ts'
import type { Pipeline } from './pipeline.ts'
import type { AuditWriter } from './writer.ts'

/** What {@link startWriter} and {@link stopWriter} need. */
export interface LifecycleParts {
  readonly actions: ActionRegistry
  readonly spool: Spool
  readonly writer: AuditWriter
  readonly pipeline: Pipeline
  readonly events: SecurityEvents
}

/** Records the start of this writer, names the last record of the previous one, and starts the loops. */
export async function startWriter({
  actions,
  spool,
  writer,
  pipeline,
  events,
}: LifecycleParts): Promise<void> {
  const { last, cutBytes } = spool.recovered
  const recovery = await pipeline.recover()
  await writer.record({
    action: actions.getOpen('audit_log.writer_started'),
    fields: {
      data: {
        ...(last === undefined ? undefined : { previous: last.writer, previousSeq: last.seq }),
        ...(cutBytes === 0 ? undefined : { cutBytes }),
      },
    },
  })
  if (recovery !== undefined) {
    const data = { ...recovery }
    const action = actions.getOpen('audit_log.log_recovered')
    await writer.record({ action, fields: { data }, useReserve: true, isStatement: true })
    const { seen, stored, reshipped } = recovery
    const details = { seenSize: seen.size, storedSize: stored.size, reshipped }
    events.emit('audit_log.log_recovered', { details })
    await pipeline.endRecovery()
  }
  pipeline.start()
}

/** Records the end of this writer, and moves into the log and to the sinks what the deadline allows. */
export async function stopWriter(
  { actions, spool, writer, pipeline }: LifecycleParts,
  deadlineMs: number,
  clock: Clock,
): Promise<void> {
  await writer.recordGap()
  await writer
    .record({
      action: actions.getOpen('audit_log.writer_stopped'),
      fields: { data: { seq: spool.nextSeq } },
      useReserve: true,
    })
    .catch(() => {})
  // What is not delivered in time stays in the spool until the next start.
  const inTime = (work: Promise<void>) =>
    withDeadline(work, deadlineMs, closeTimeout, clock).catch(() => {})
  const drain = async () => {
    await pipeline.flush()
    await spool.rotate()
    await pipeline.flush()
  }
  await inTime(drain())
  await inTime(pipeline.close())
  await spool.close()
}

function closeTimeout(): Error {
  return new Error('the store or a sink did not finish before the deadline')
}
