/** The log in PostgreSQL or PGlite. */
import { migrate, type Clock, type SqlClient } from '@parapet/kit'
import type {
  Cursor,
  InboxRecord,
  Logged,
  LogState,
  LogStore,
  PlacedEntry,
  PlanIntegration,
  StoredCheckpoint,
  StoredValue,
  SubjectState,
} from '../log/log-store.ts'
import type { ResolvedFilter } from '../record/filter.ts'
import { textColumns } from '../record/projection.ts'
import { requireOrigin } from '../trust/origin.ts'
import type { WriterKey } from '../trust/writer-key.ts'
import { claimCursor, moveCursor } from './cursors.ts'
import { countLogged, searchSql } from './events.ts'
import { limitWaiting } from './deadline.ts'
import { appendRows, oldestRowTime, removeRows } from './inbox.ts'
import { PostgresSequence } from './sequence.ts'
import { readState } from './state.ts'
import { eraseSubject, listSubjects, readBlob, readSubject, valuesOf } from './subjects.ts'
import { migrations } from './schema.ts'

const NAME = '@parapet/audit-log'
const PAGE = 10_000
/** Shorter than the time in which Fastify expects a plugin to start, which would hide the cause. */
const BOOT_LIMIT_MS = 8000

/** What a store needs that is not only read. */
export interface PostgresWriting {
  /** The user's client, without deadlines. */
  readonly sql: SqlClient
  readonly origin: string
  /** Whether this instance creates the tables; an instance that only writes or reads does not. */
  readonly migrates: boolean
  readonly writerKey: WriterKey
  readonly clock: Clock
  /** The longest that one call of the database may take. */
  readonly deadlineMs: number
}

/** Without a schema, waiting for the lock of the migrations would not end. */
async function requireSchema(sql: SqlClient): Promise<void> {
  const { rows } = await sql.query<{ schema: string | null }>('SELECT current_schema() AS schema')
  if (rows[0]?.schema === null) {
    throw new Error(
      'the database has no schema for the tables; check the "search_path" of its role',
    )
  }
}

/** A {@link LogStore} over kit's SQL port. */
export class PostgresStore implements LogStore {
  readonly kind = 'postgres'
  readonly #sql: SqlClient
  readonly #writing: PostgresWriting | undefined
  readonly #sequence: PostgresSequence | undefined

  /** @param writing without it, the store can only be read: for a verifier. */
  constructor(sql: SqlClient, writing?: PostgresWriting) {
    this.#sql = writing === undefined ? sql : limitWaiting(sql, writing.deadlineMs)
    this.#writing = writing
    if (writing === undefined) return
    const { origin, writerKey, clock } = writing
    this.#sequence = new PostgresSequence({ sql: this.#sql, origin, writerKey, now: clock.now })
  }

  async open(): Promise<void> {
    if (this.#writing === undefined) return
    const { migrates, origin, sql, deadlineMs } = this.#writing
    const limited = limitWaiting(sql, Math.min(deadlineMs, BOOT_LIMIT_MS))
    if (migrates) {
      await requireSchema(limited)
      // Not through the deadline: a migration of a large table takes as long as it takes.
      await migrate(sql, NAME, migrations)
    }
    // A role that only writes may not read the state, and a database may be down at the start.
    const state = migrates ? await readState(limited) : await readState(limited).catch(() => null)
    requireOrigin(state, origin, 'database')
  }

  logged(writer: string, first: number, last: number, after: number): Promise<Logged | null> {
    return countLogged(this.#sql, writer, first, last, after)
  }

  async append(records: readonly InboxRecord[]): Promise<void> {
    await appendRows(this.#sql, this.#writer(), records)
  }

  async sequence(
    plan: PlanIntegration,
    max: number,
    urgentFor?: ReadonlySet<string>,
  ): Promise<number> {
    return (await this.#sequence?.run(plan, max, urgentFor)) ?? 0
  }

  forgetWaiting(
    writer: string,
    ranges: readonly (readonly [from: number, to: number])[],
  ): Promise<void> {
    return removeRows(this.#sql, writer, ranges)
  }

  oldestWaiting(): Promise<number | null> {
    return oldestRowTime(this.#sql)
  }

  state(): Promise<LogState | null> {
    return readState(this.#sql)
  }

  async tile(level: number, index: number): Promise<Buffer | undefined> {
    const { rows } = await this.#sql.query<{ hashes: Uint8Array }>(
      'SELECT hashes FROM audit_log_tiles WHERE level = $1 AND index = $2',
      [level, index],
    )
    const hashes = rows[0]?.hashes
    return hashes === undefined ? undefined : Buffer.from(hashes)
  }

  async entries(start: number, end: number) {
    const { rows } = await this.#sql.query(
      `SELECT index::text AS place, leaf, seq::text, month::text, ${textColumns.join(', ')},
         round(extract(epoch FROM time) * 1000)::text AS time
       FROM audit_log_events WHERE index >= $1 AND index < $2 ORDER BY index`,
      [start, end],
    )
    return rows.map((columns) => ({
      index: Number(columns['place']),
      leaf: String(columns['leaf']),
      columns,
    }))
  }

  async *checkpoints(): AsyncGenerator<StoredCheckpoint> {
    for (let after = '-1'; ;) {
      const { rows } = await this.#sql.query<{ size: string; note: string }>(
        `SELECT size::text, note FROM audit_log_checkpoints AS c
         WHERE c.size > $1 ORDER BY c.size LIMIT $2`,
        [after, PAGE],
      )
      for (const { size, note } of rows) yield { size: Number(size), note }
      if (rows.length < PAGE) return
      after = rows.at(-1)!.size
    }
  }

  async cosigned(): Promise<string | undefined> {
    const { rows } = await this.#sql.query<{ note: string }>('SELECT note FROM audit_log_cosigned')
    return rows[0]?.note
  }

  async keepCosigned(note: string): Promise<void> {
    await this.#sql.query(
      `INSERT INTO audit_log_cosigned (note) VALUES ($1)
       ON CONFLICT (one) DO UPDATE SET note = excluded.note`,
      [note],
    )
  }

  async search(filter: ResolvedFilter, before: number, limit: number): Promise<PlacedEntry[]> {
    const { text, values } = searchSql(filter, before, limit)
    const { rows } = await this.#sql.query<{ place: string; leaf: string }>(text, values)
    return rows.map(({ place, leaf }) => ({ index: Number(place), leaf }))
  }

  async find(id: string): Promise<PlacedEntry | undefined> {
    const { rows } = await this.#sql.query<{ place: string; leaf: string }>(
      'SELECT index::text AS place, leaf FROM audit_log_events WHERE id = $1 LIMIT 1',
      [id],
    )
    return rows[0] === undefined ? undefined : { index: Number(rows[0].place), leaf: rows[0].leaf }
  }

  valuesOf(record: string): Promise<StoredValue[]> {
    return valuesOf(this.#sql, [record])
  }

  valuesOfMany(records: readonly string[]): Promise<StoredValue[]> {
    return valuesOf(this.#sql, records)
  }

  blob(sha256: string): Promise<string | undefined> {
    return readBlob(this.#sql, sha256)
  }

  eraseSubject(subject: string, time: number): Promise<{ keys: number; values: number }> {
    return eraseSubject(this.#sql, subject, time)
  }

  subjects(after: string, limit: number): Promise<SubjectState[]> {
    return listSubjects(this.#sql, after, limit)
  }

  subject(pseudonym: string): Promise<SubjectState> {
    return readSubject(this.#sql, pseudonym)
  }

  async secretCheck(): Promise<string | undefined> {
    const { rows } = await this.#sql.query<{ text: string }>(
      'SELECT text FROM audit_log_secret_check',
    )
    return rows[0]?.text
  }

  async keepSecretCheck(text: string): Promise<void> {
    await this.#sql.query(
      `INSERT INTO audit_log_secret_check (text) VALUES ($1)
       ON CONFLICT (one) DO UPDATE SET text = excluded.text`,
      [text],
    )
  }

  claimCursor(name: string, holder: string, ttlMs: number): Promise<Cursor | null> {
    return claimCursor(this.#sql, this.#writer(), name, holder, ttlMs)
  }

  moveCursor(name: string, holder: string, position: number): Promise<boolean> {
    return moveCursor(this.#sql, this.#writer(), name, holder, position)
  }

  async prune(before: number): Promise<number> {
    return this.#sql.transaction(async (transaction) => {
      await transaction.query(
        'UPDATE audit_log_state SET min_index = greatest(min_index, $1::bigint) WHERE size >= $1::bigint',
        [before],
      )
      const { rowCount } = await transaction.query(
        'DELETE FROM audit_log_events WHERE index < (SELECT least(min_index, $1::bigint) FROM audit_log_state)',
        [before],
      )
      return rowCount
    })
  }

  async surplus(size: number): Promise<number> {
    const { rows } = await this.#sql.query<{ surplus: number }>(
      'SELECT count(*)::float8 AS surplus FROM audit_log_events WHERE index >= $1',
      [size],
    )
    return rows[0]?.surplus ?? 0
  }

  async mayEdit(): Promise<boolean> {
    const { rows } = await this.#sql.query<{ may: boolean }>(
      `SELECT has_table_privilege('audit_log_events', 'UPDATE') AS may`,
    )
    return rows[0]?.may === true
  }

  async close(): Promise<void> {}

  #writer(): WriterKey {
    if (this.#writing === undefined) throw new Error('this store can only be read')
    return this.#writing.writerKey
  }
}
