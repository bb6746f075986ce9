/** The reading half of `app.audit`: queries, exports, proofs, erasure, retention and the doctor. */
import { statfs } from 'node:fs/promises'
import { PARAPET_AUDIT_LOG_INVALID_QUERY, PARAPET_AUDIT_LOG_NOT_FOUND } from './errors.ts'
import { isKeyName, openNote } from './log/note.ts'
import {
  proveConsistency,
  proveEntries,
  toEntries,
  type AuditEntry,
  type ProvenEntry,
} from './log/reader.ts'
import { exportLines, type ExportSettings } from './read/export.ts'
import { readFilter, type RecordFilter } from './read/filter.ts'
import { retentionEnd } from './read/retention.ts'
import { parseLeaf } from './record/leaf.ts'
import { revealRecord } from './record/reveal.ts'
import type { AuditFields } from './record/recorder.ts'
import { AuditService } from './service.ts'

/** Who reads: what is recorded of it. */
export type ReaderFields = Pick<
  AuditFields,
  'principal' | 'session' | 'tenant' | 'ip' | 'userAgent' | 'requestId' | 'route'
>

/** What {@link Audit.query} takes. */
export interface AuditQuery {
  readonly filters?: RecordFilter
  /** Where the last page ended. */
  readonly cursor?: string
  /** 1 to 500. @default 50 */
  readonly limit?: number
  /** Who reads. @default the app itself */
  readonly reader?: ReaderFields
}

/** One page, newest first. */
export interface AuditPage {
  readonly entries: readonly AuditEntry[]
  /** For the next page; `null` at the end. */
  readonly cursor: string | null
}

/** One finding of {@link Audit.doctor}. */
export interface DoctorCheck {
  readonly check: 'key' | 'log' | 'clock' | 'disk' | 'store' | 'checkpoint' | 'roles'
  readonly ok: boolean
  readonly detail: string
}

const MAX_LIMIT = 500
const DEFAULT_LIMIT = 50
const MAX_SKEW_MS = 5000

/** `app.audit`. */
export class Audit extends AuditService {
  /**
   * Reads a page; the reading is itself recorded.
   *
   * @throws PARAPET_AUDIT_LOG_INVALID_QUERY
   */
  async query(query: AuditQuery = {}): Promise<AuditPage> {
    const filter = readFilter(query.filters ?? {})
    const limit = query.limit ?? DEFAULT_LIMIT
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
      throw new PARAPET_AUDIT_LOG_INVALID_QUERY(`"limit" must be from 1 to ${MAX_LIMIT}`)
    }
    const before = readCursor(query.cursor)
    await this.write('audit_log.log_read', {
      ...query.reader,
      data: { filters: { ...filter }, limit },
    })
    const found = await this.parts.store.search(filter, before, limit)
    const last = found.at(-1)
    const isEnd = found.length < limit || last === undefined || last.index === 0
    return { entries: toEntries(found), cursor: isEnd ? null : String(last.index) }
  }

  /**
   * Exports matching records, newest first, as lines of NDJSON (with proofs) or CSV; the reading is
   * itself recorded.
   */
  async export(
    settings: ExportSettings & { readonly reader?: ReaderFields },
  ): Promise<AsyncIterable<string>> {
    const filter = readFilter(settings.filters ?? {})
    const { format, reader } = settings
    await this.write('audit_log.log_exported', {
      ...reader,
      data: { filters: { ...filter }, format },
    })
    return exportLines(this.parts.store, filter, settings)
  }

  /** Proves that a record is in the log. @throws PARAPET_AUDIT_LOG_NOT_FOUND it is not, or not yet. */
  async prove(id: string): Promise<ProvenEntry> {
    const found = await this.parts.store.find(id)
    if (found === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    const [proven] = await proveEntries(this.parts.store, [found])
    return proven!
  }

  /** Proves that the log of `oldSize` entries is the beginning of that of `newSize`; hashes in base64. */
  async proveConsistency(oldSize: number, newSize: number): Promise<readonly string[]> {
    return proveConsistency(this.parts.store, oldSize, newSize)
  }

  /** The latest signed checkpoint. @throws PARAPET_AUDIT_LOG_NOT_FOUND the log is empty. */
  async checkpoint(): Promise<string> {
    const note = (await this.parts.store.state())?.note ?? ''
    if (note === '') throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    return note
  }

  /** A record as it was given, with the personal values and large members that are still readable. */
  async reveal(id: string, reader: ReaderFields = {}): Promise<Record<string, unknown>> {
    const { store, subjects } = this.parts
    const found = await store.find(id)
    const record = found === undefined ? undefined : parseLeaf(found.leaf)
    if (record === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    await this.write('audit_log.log_read', { ...reader, data: { revealed: id } })
    return revealRecord(record, store, subjects)
  }

  /**
   * Destroys the keys and values of a subject: what stands in the log, and in every copy of it that
   * was sent elsewhere, can never be read again, and every proof goes on verifying. A backup of the
   * store that was made before still holds the keys. The erasure is itself a record.
   *
   * @param subject as given to `pii`.
   */
  async erase(
    subject: string,
    { reason = '', by = {} }: { readonly reason?: string; readonly by?: ReaderFields } = {},
  ): Promise<{ readonly id: string; readonly keys: number; readonly values: number }> {
    const { subjects, store, settings } = this.parts
    if (subjects === undefined) throw new PARAPET_AUDIT_LOG_NOT_FOUND()
    const pseudonym = subjects.pseudonymOf(subject)
    subjects.forget(subject)
    // The record comes first: an erasure that leaves no trace is what the verifier calls forged.
    const { id } = await this.write('audit_log.subject_erased', {
      ...by,
      resource: 'subject',
      resourceId: pseudonym,
      data: { reason },
    })
    // It is in the log before the keys go, and so is every value that waited in the spool with it.
    await this.flush()
    const erased = await store.eraseSubject(pseudonym, settings.clock.now())
    this.parts.events.emit('audit_log.subject_erased', {
      details: { subject: pseudonym, ...erased },
    })
    return { id, ...erased }
  }

  /** Removes the entries that are beyond their retention, oldest first, up to the first that is not. */
  async prune(): Promise<{ readonly before: number; readonly entries: number }> {
    const { store, settings } = this.parts
    const before = await retentionEnd(store, settings.retention, settings.clock.now())
    if (before === 0) return { before, entries: 0 }
    await this.write('audit_log.log_pruned', { data: { before } })
    await this.flush()
    const entries = await store.prune(before)
    this.parts.events.emit('audit_log.log_pruned', { details: { before } })
    return { before, entries }
  }

  async #checkRoles(): Promise<DoctorCheck[]> {
    const { store } = this.parts
    if (store.mayEdit === undefined) return []
    const mayEdit = await store.mayEdit().catch(() => false)
    return [check('roles', !mayEdit, mayEdit ? MAY_EDIT : 'no more than it needs')]
  }

  /** Looks at key, store, log, clock, roles and disk; never throws. What is not well is logged at boot. */
  async doctor(): Promise<readonly DoctorCheck[]> {
    const { store, settings, signer, pipeline } = this.parts
    const state = await store.state().catch((error: unknown) => error as Error)
    const isDown = state instanceof Error
    const note = isDown ? '' : (state?.note ?? '')
    const opened = note === '' ? undefined : openNote(note, [signer.key])
    const newest = isDown ? [] : await store.search({}, Number.MAX_SAFE_INTEGER, 1).catch(() => [])
    const skew = (parseLeaf(newest[0]?.leaf ?? '')?.time ?? 0) - settings.clock.now()
    const free = await freeBytes(settings.directory)
    const least = settings.spool.maxBytes
    return [
      check('key', isKeyName(signer.key.name), this.verifierKey),
      check('store', !isDown && pipeline.storeIsUp, isDown ? 'does not answer' : store.kind),
      check(
        'log',
        pipeline.sequencer.halted === undefined,
        pipeline.sequencer.halted ?? 'continues',
      ),
      check(
        'checkpoint',
        opened === undefined || typeof opened === 'object',
        typeof opened === 'string' ? opened : 'signed by the key',
      ),
      check('clock', skew < MAX_SKEW_MS, `the newest record is ${Math.max(0, skew)} ms ahead`),
      ...(await this.#checkRoles()),
      check('disk', free >= least, `${free} bytes free, the spool may take ${least}`),
    ]
  }
}

const MAY_EDIT = 'this role may edit entries; split the work with grantsFor()'

function check(name: DoctorCheck['check'], ok: boolean, detail: string): DoctorCheck {
  return { check: name, ok, detail }
}

async function freeBytes(folder: string): Promise<number> {
  const disk = await statfs(folder).catch(() => undefined)
  return disk === undefined ? 0 : disk.bavail * disk.bsize
}

function readCursor(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER
  if (!/^\d{1,15}$/.test(cursor)) {
    throw new PARAPET_AUDIT_LOG_INVALID_QUERY('"cursor" must be one that a page gave')
  }
  return Number(cursor)
}
