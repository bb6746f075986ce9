/** `app.audit`: everything the plugin can do, without Fastify. */
import { createSecretKey } from 'node:crypto'
import { withDeadline, type SqlQueryable } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_INVALID_RECORD } from './errors.ts'
import type { ServiceParts } from './parts.ts'
import { formatVerifierKey } from './log/note.ts'
import { type AuditAction, type AuditData, type ResolvedAction } from './record/actions.ts'
import { finish } from './record/writer.ts'
import { formatHashed, keyedHash } from './record/protect.ts'
import type { AuditFields, InternalFields } from './record/recorder.ts'

/** A record that was taken. */
export interface AuditReceipt {
  /** UUIDv7. */
  readonly id: string
  /** Whether it is on disk; false only for an open action that could not be stored. */
  readonly recorded: boolean
}

/** How the audit log is doing. */
export interface AuditStatus {
  readonly writer: string
  /** Entries in the log. */
  readonly size: number
  readonly spoolBytes: number
  readonly spoolMaxBytes: number
  /** Records of open actions that were not stored and are not told of yet. */
  readonly droppedRecords: number
  readonly storeIsUp: boolean
  /** Why sequencing stopped; `null` while it works. */
  readonly halted: string | null
  /** How many entries each sink has still to take. */
  readonly lag: Readonly<Record<string, number>>
}

/** What one insert of {@link AuditService.inTransaction} needs: a client inside its transaction. */
export type TransactionClient =
  | SqlQueryable
  | {
      query(text: string, values: unknown[]): Promise<unknown>
    }

/** The recording half of `app.audit`. */
export class AuditService {
  /** @internal */
  readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  /** The public key of the log, as `verify --key` takes it. */
  get verifierKey(): string {
    return formatVerifierKey(this.parts.signer.key)
  }

  /**
   * Records what happened; resolves when the record is on disk (for a deferred action, when it was
   * taken).
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_RECORD the action or its data are not as declared.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE the record cannot be stored, and the action is closed.
   */
  async record<A extends AuditAction>(
    action: A,
    fields: AuditFields<AuditData<A>>,
  ): Promise<AuditReceipt> {
    if (action.startsWith('audit_log.')) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('"audit_log." begins the names of the log itself')
    }
    return this.writeResolved(this.parts.actions.get(action), fields, {}, false)
  }

  /** @internal As {@link record}, for the plugin's own and other plugins' actions. */
  async write(
    name: string,
    fields: AuditFields,
    internal: InternalFields = {},
    promised = false,
  ): Promise<AuditReceipt> {
    const isForeign = internal.id !== undefined || name.startsWith('audit_log.')
    const action = isForeign ? this.parts.actions.getOpen(name) : this.parts.actions.get(name)
    return this.writeResolved(action, fields, internal, promised)
  }

  /** @internal As {@link record}, for actions that stand in no table of the app. */
  writeOpen(name: string, fields: AuditFields): Promise<AuditReceipt> {
    return this.writeResolved(this.parts.actions.getOpen(name), fields, {}, false)
  }

  /** @internal As {@link write}, with an action that a route may have changed. */
  async writeResolved(
    action: ResolvedAction,
    fields: AuditFields,
    internal: InternalFields,
    promised: boolean,
  ): Promise<AuditReceipt> {
    const { recorder, writer } = this.parts
    const prepared = recorder.prepare(action, fields, internal)
    const ready = prepared instanceof Promise ? await prepared : prepared
    const { id } = ready.draft
    const written = writer.write(action, ready, promised)
    if (action.durable) return { id, recorded: await written }
    // What is refused later is told by an event; a deferred action does not wait for it.
    written.catch(() => {})
    return { id, recorded: true }
  }

  /**
   * Records in the caller's own transaction: the record exists if, and only if, the transaction is
   * committed. It needs the option `sql`, and a client of the same database.
   */
  async inTransaction<A extends AuditAction>(
    client: TransactionClient,
    action: A,
    fields: AuditFields<AuditData<A>>,
  ): Promise<{ readonly id: string }> {
    const { actions, recorder, store } = this.parts
    if (store.kind !== 'postgres' || action.startsWith('audit_log.')) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a record in a transaction needs the option "sql"')
    }
    const prepared = await recorder.prepare(actions.get(action), fields)
    const { leaf, beside } = finish(prepared, 'tx', undefined)
    const { id } = prepared.draft
    await client.query(
      `INSERT INTO audit_log_inbox (writer, seq, leaf, beside) VALUES ('tx', NULL, $1, $2)`,
      [leaf, beside],
    )
    return { id }
  }

  /** What stands in the log for a value under the mark `hmac`, to search for it. */
  hash(value: unknown): string {
    const { hashKey } = this.parts.settings
    if (hashKey === undefined) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a keyed hash needs the option "hashKey"')
    }
    return formatHashed(keyedHash(createSecretKey(hashKey), 'value', value))
  }

  /** Moves everything recorded so far into the log and to the sinks. @throws what the store threw */
  async flush(): Promise<void> {
    this.parts.writer.tellGap()
    await this.parts.pipeline.flush()
  }

  /** How the audit log is doing, for a metrics route. */
  async status(): Promise<AuditStatus> {
    const { settings, spool, store, writer, pipeline } = this.parts
    const state = await store.state().catch(() => null)
    const size = state?.size ?? 0
    return {
      writer: spool.writer,
      size,
      spoolBytes: spool.bytes,
      spoolMaxBytes: settings.spool.maxBytes,
      droppedRecords: writer.droppedRecords,
      storeIsUp: pipeline.storeIsUp,
      halted: pipeline.sequencer.halted ?? null,
      lag: Object.fromEntries(
        pipeline.followers.map(({ sink, position }) => [sink.name, Math.max(0, size - position)]),
      ),
    }
  }

  /** Tells that this writer begins, and what the last one left. */
  async start(): Promise<void> {
    const { spool, pipeline } = this.parts
    const { last, cutBytes } = spool.recovered
    await this.write('audit_log.writer_started', {
      data: {
        ...(last === undefined ? undefined : { previous: last.writer, previousSeq: last.seq }),
        ...(cutBytes === 0 ? undefined : { cutBytes }),
      },
    })
    await pipeline.start()
  }

  /** Tells that this writer ends, and moves what it can into the log. */
  async close(): Promise<void> {
    const { spool, pipeline, settings } = this.parts
    await this.write('audit_log.writer_stopped', { data: { seq: spool.nextSeq } }, {}, true).catch(
      () => {},
    )
    const { clock, sinkDeadlineMs } = settings
    // What they do not take in time waits for the next start.
    const inTime = (work: Promise<void>) =>
      withDeadline(work, sinkDeadlineMs, outOfTime, clock).catch(() => {})
    const drain = async () => {
      await pipeline.flush()
      await spool.rotate()
      await pipeline.flush()
    }
    await inTime(drain())
    await inTime(pipeline.close())
    await spool.close()
  }
}

/** Nobody hears it: what is left over is no failure. */
function outOfTime(): Error {
  return new Error('store and sinks did not end in time')
}
