/**
 * `app.audit`: everything that the plugin can do, without Fastify. The file is long because the one facade has
 * all public methods with their documentation; each checks its arguments and passes the call on.
 */
import { createSecretKey } from 'node:crypto'
import type { SecurityEvents } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_INVALID_RECORD, PARAPET_AUDIT_LOG_NOT_FOUND } from './errors.ts'
import { runDoctor, type DoctorCheck } from './health/doctor.ts'
import { readStatus, type AuditStatus } from './health/status.ts'
import type { LogStore } from './log/log-store.ts'
import { proveConsistency, proveEntries, type ProvenEntry } from './log/proofs.ts'
import { formatVerifierKey } from './log/signed-note.ts'
import type { AuditLogSettings } from './options.ts'
import type { Pipeline } from './pipeline/pipeline.ts'
import { startWriter, stopWriter } from './pipeline/lifecycle.ts'
import { recordInTransaction, type TransactionClient } from './pipeline/transaction.ts'
import type { AuditReceipt, AuditWriter } from './pipeline/writer.ts'
import { exportLines, type ExportSettings } from './read/export.ts'
import { queryLog, readQuery, type AuditPage, type AuditQuery } from './read/query.ts'
import { readStore } from './read/read-store.ts'
import type { ReaderFields } from './read/reader-fields.ts'
import { revealRecord } from './read/reveal.ts'
import type { ActionRegistry, AuditAction, AuditData } from './record/actions.ts'
import type { AuditFields } from './record/fields.ts'
import { readFilter, type ResolvedFilter } from './record/filter.ts'
import { parseLeaf } from './record/leaf.ts'
import { formatHashed, keyedHash } from './record/marks.ts'
import type { SubjectKeys } from './record/personal-data.ts'
import type { Recorder } from './record/recorder.ts'
import { isMarkable } from './record/texts.ts'
import { isRecordId } from './record/validate.ts'
import { eraseSubject, type RemovalSettings } from './retention/erase.ts'
import { pruneLog } from './retention/prune.ts'
import type { LogKeys } from './trust/keys.ts'
import type { VerifyReport } from './verify/report.ts'
import { verifyLog } from './verify/verify-log.ts'
import type { Spool } from './wal/spool.ts'

/** The parts of the service. */
export interface ServiceParts {
  readonly settings: AuditLogSettings
  /** The folder of the option `directory`. */
  readonly folder: string
  /** Removes the folder, if it is ephemeral. */
  readonly remove: () => Promise<void>
  readonly actions: ActionRegistry
  readonly spool: Spool
  readonly store: LogStore
  readonly keys: LogKeys
  readonly recorder: Recorder
  readonly writer: AuditWriter
  readonly pipeline: Pipeline
  readonly subjects: SubjectKeys | undefined
  /** Whether the cipher decrypts what was encrypted before; `undefined` without `hashKey`. */
  readonly canOpen: boolean | undefined
  readonly events: SecurityEvents
}

/** Options of {@link Audit.record}. */
export interface RecordOptions {
  /** Whether the action may be missing from the option `actions`. @default false */
  readonly undeclared?: boolean
}

/** `app.audit`. */
export class Audit {
  /** @internal For the plugin and its tests; may change at any time. */
  readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  /** The public key of the log, as `audit-log verify --key` takes it. */
  get verifierKey(): string {
    return formatVerifierKey(this.parts.keys.signer.key)
  }

  /**
   * Records an action. Resolves when the record is on disk; for a deferred action, when it was
   * accepted.
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_RECORD the action is undefined, or its data do not match.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE the record cannot be stored, and the action is closed.
   */
  record<A extends AuditAction>(action: A, fields: AuditFields<AuditData<A>>): Promise<AuditReceipt>
  record(action: string, fields: AuditFields, options: RecordOptions): Promise<AuditReceipt>
  async record(
    action: string,
    fields: AuditFields,
    { undeclared = false }: RecordOptions = {},
  ): Promise<AuditReceipt> {
    const { actions, writer } = this.parts
    refuseReserved(action)
    return writer.record({
      action: undeclared ? actions.getOpen(action) : actions.get(action),
      fields,
    })
  }

  /**
   * Records in the caller's own SQL transaction: the record exists if, and only if, the transaction
   * commits. Needs the option `sql`, and a client of the same database.
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_RECORD the option `sql` is not set, or the record is invalid.
   */
  async inTransaction<A extends AuditAction>(
    client: TransactionClient,
    action: A,
    fields: AuditFields<AuditData<A>>,
  ): Promise<{ readonly id: string }> {
    const { actions, recorder, store, keys } = this.parts
    if (store.kind !== 'postgres') {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a record in a transaction needs the option "sql"')
    }
    refuseReserved(action)
    const prepared = await recorder.prepare(actions.get(action), fields)
    return recordInTransaction(client, prepared, keys.writerKey)
  }

  /** The text that the log holds for a value marked with `hmac`; use it to search for the value. */
  hash(value: unknown): string {
    const { hashKey } = this.parts.settings
    if (hashKey === undefined) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a keyed hash needs the option "hashKey"')
    }
    return formatHashed(keyedHash(createSecretKey(hashKey), 'value', value))
  }

  /**
   * Reads a page of records, newest first. The read is recorded itself.
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_QUERY a filter, the cursor or the limit is invalid.
   * @throws PARAPET_AUDIT_LOG_UNAVAILABLE the store does not answer.
   */
  async query(query: AuditQuery = {}): Promise<AuditPage> {
    const { limit, before, ...read } = readQuery(query)
    const filter = this.#protect(read.filter)
    await this.#recordOwn('log_read', { ...query.reader, data: { filters: { ...filter }, limit } })
    return readStore(queryLog(this.parts.store, { filter, limit, before }))
  }

  /**
   * Exports the matching records, newest first, as lines of NDJSON (optionally with proofs) or CSV.
   * The export is recorded itself.
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_QUERY a filter is invalid.
   */
  async export(
    settings: ExportSettings & { readonly reader?: ReaderFields },
  ): Promise<AsyncIterable<string>> {
    const filter = this.#protect(readFilter(settings.filters ?? {}))
    const { format, reader } = settings
    await this.#recordOwn('log_exported', { ...reader, data: { filters: { ...filter }, format } })
    return exportLines(this.parts.store, filter, settings)
  }

  /**
   * Proves that a record is in the log.
   *
   * @param reader records the read as made by this reader. @default the proof is not recorded
   * @throws PARAPET_AUDIT_LOG_NOT_FOUND the record is not in the log, or not yet.
   */
  async prove(id: string, reader?: ReaderFields): Promise<ProvenEntry> {
    if (reader !== undefined) await this.recordRead(reader, { proof: id })
    const found = isRecordId(id) ? await readStore(this.parts.store.find(id)) : undefined
    if (found === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    const [proven] = await readStore(proveEntries(this.parts.store, [found]))
    return proven!
  }

  /**
   * Proves that the log of `oldSize` entries is a prefix of the log of `newSize` entries.
   *
   * @returns hashes in base64. @see RFC 9162, section 2.1.4
   * @throws PARAPET_AUDIT_LOG_NOT_FOUND the log has fewer entries.
   */
  async proveConsistency(oldSize: number, newSize: number): Promise<readonly string[]> {
    return readStore(proveConsistency(this.parts.store, oldSize, newSize))
  }

  /** The latest signed checkpoint, with the cosignature of the witness if it has one. @throws PARAPET_AUDIT_LOG_NOT_FOUND the log is empty. */
  async checkpoint(): Promise<string> {
    const note = (await readStore(this.parts.store.state()))?.note ?? ''
    if (note === '') throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    const cosigned = await readStore(this.parts.store.cosigned())
    return cosigned?.startsWith(note) === true ? cosigned : note
  }

  /** The latest checkpoint that the witness cosigned. @throws PARAPET_AUDIT_LOG_NOT_FOUND there is none. */
  async cosigned(): Promise<string> {
    const note = await readStore(this.parts.store.cosigned())
    if (note === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    return note
  }

  /**
   * Returns a record with its personal values decrypted and its large members restored, as far as
   * they still exist. The read is recorded itself.
   *
   * @throws PARAPET_AUDIT_LOG_NOT_FOUND there is no such record.
   */
  async reveal(id: string, reader: ReaderFields = {}): Promise<Record<string, unknown>> {
    const { store, subjects } = this.parts
    const found = isRecordId(id) ? await readStore(store.find(id)) : undefined
    const record = found === undefined ? undefined : parseLeaf(found.leaf)
    if (record === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    await this.recordRead(reader, { revealed: id })
    const onRestored = (subject: string) =>
      this.parts.events.emit('audit_log.erasure_undone', { details: { subject } })
    return readStore(revealRecord(record, { store, subjects, onRestored }))
  }

  /**
   * Erases the personal values of a subject by destroying their keys. No copy of the log can be
   * decrypted afterwards, and every proof stays valid. A backup of the store that was made before
   * still contains the keys. The erasure is recorded itself, as a failure if there is nothing to erase.
   *
   * @param subject the subject as passed to `pii`.
   * @throws PARAPET_AUDIT_LOG_INVALID_RECORD the subject is no text, or empty.
   * @throws PARAPET_AUDIT_LOG_NOT_FOUND the options `cipher` and `hashKey` are not set.
   */
  async erase(
    subject: string,
    { reason = '', by = {} }: { readonly reason?: string; readonly by?: ReaderFields } = {},
  ): Promise<{ readonly id: string; readonly keys: number; readonly values: number }> {
    const { subjects } = this.parts
    if (subjects === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    if (typeof subject !== 'string' || subject === '') {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a subject must be a text that is not empty')
    }
    return eraseSubject(this.#removal(), subjects, subject, { ...by, data: { reason } })
  }

  /**
   * Removes entries past their retention time, oldest first, up to the first that must be kept. The
   * pruning is recorded itself.
   *
   * @returns the index of the first entry that is kept (0: nothing was removed), and the number of
   *   removed entries.
   */
  async prune(): Promise<{ readonly before: number; readonly entries: number }> {
    return pruneLog(this.#removal(), this.parts.settings.retention)
  }

  /**
   * Verifies the whole log with the keys that this process trusts, as `audit-log verify` does. An intruder who
   * controls the process controls the result, too: let others verify with the public key besides.
   *
   * @param limits `signal` ends it, between two batches; `onProgress` gets the entries that were verified, and the
   *   size of the log.
   * @throws the reason of the signal, or the store's error.
   */
  async verify(
    limits: {
      readonly signal?: AbortSignal
      readonly onProgress?: (done: number, size: number) => void
    } = {},
  ): Promise<VerifyReport> {
    const { store, keys, settings } = this.parts
    const { signal, onProgress } = limits
    return verifyLog({
      store,
      keys: keys.trusted.keys,
      now: () => performance.now(),
      time: settings.clock.now,
      onProgress(done, size) {
        signal?.throwIfAborted()
        onProgress?.(done, size)
      },
    })
  }

  /** Moves all records so far into the log and to the sinks. @throws the store's error. */
  async flush(): Promise<void> {
    await this.parts.writer.recordGap()
    await this.parts.pipeline.flush()
  }

  /** The state of the audit log, for a metrics route. */
  async status(): Promise<AuditStatus> {
    const { settings, spool, store, writer, pipeline } = this.parts
    return readStatus({
      spool,
      store,
      droppedRecords: writer.droppedRecords,
      flow: pipeline,
      spoolMaxBytes: settings.spool.maxBytes,
      stallMs: settings.stallMs,
    })
  }

  /** Checks key, store, log, clock, roles and disk; never rejects. Failed checks are logged at boot. */
  async doctor(): Promise<readonly DoctorCheck[]> {
    const { settings, store, keys, pipeline, folder } = this.parts
    return runDoctor({
      canOpen: this.parts.canOpen,
      store,
      keys,
      flow: pipeline,
      folder,
      spoolMaxBytes: settings.spool.maxBytes,
      now: settings.clock.now,
    })
  }

  /** @internal Records that a reader read something other than a query or an export. */
  async recordRead(reader: ReaderFields, data: Readonly<Record<string, string>>): Promise<void> {
    await this.#recordOwn('log_read', { ...reader, data })
  }

  /** @internal Records the start of this writer, and starts to ship and sequence. */
  start(): Promise<void> {
    return startWriter(this.parts)
  }

  /** @internal Records the end of this writer, and moves into the log what the deadline allows. */
  async close(): Promise<void> {
    const { sinkDeadlineMs, clock } = this.parts.settings
    await stopWriter(this.parts, sinkDeadlineMs, clock)
    await this.parts.remove()
  }

  /** An auditor who searches for a person must not write the name into the log. */
  #protect(filter: ResolvedFilter): ResolvedFilter {
    const { recorder } = this.parts
    const members = Object.entries(filter as Readonly<Record<string, unknown>>)
    const texts = members.map(([name, value]): [string, unknown] => {
      const isText = isMarkable(name) && typeof value === 'string'
      return [name, isText ? recorder.protect(name, value) : value]
    })
    return Object.fromEntries(texts) as ResolvedFilter
  }

  #removal(): RemovalSettings {
    const { store, events, settings } = this.parts
    return {
      store,
      events,
      now: settings.clock.now,
      record: (name, fields, isStatement) => this.#recordOwn(name, fields, isStatement),
      flush: () => this.flush(),
    }
  }

  #recordOwn(name: string, fields: AuditFields, isStatement = false): Promise<AuditReceipt> {
    const { actions, writer } = this.parts
    return writer.record({ action: actions.getOpen(`audit_log.${name}`), fields, isStatement })
  }
}

function refuseReserved(action: unknown): void {
  if (typeof action !== 'string') {
    throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
      `an action must have a name like "user.role.change", got a value of type ${typeof action}`,
    )
  }
  if (!action.startsWith('audit_log.')) return
  throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
    'action names that start with "audit_log." are reserved for the log itself',
  )
}
