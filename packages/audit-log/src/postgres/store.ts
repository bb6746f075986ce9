/** The log in PostgreSQL or PGlite. */
import { migrate, type SqlClient } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import type {
  InboxRecord,
  LogState,
  LogStore,
  PlacedEntry,
  PlanIntegration,
  StoredCheckpoint,
  SubjectState,
} from '../log/log-store.ts'
import type { RecordFilter } from '../record/filter.ts'
import type { SealedValue, SubjectKey } from '../record/personal-data.ts'
import { textColumns } from '../record/projection.ts'
import { searchSql } from './postgres-events.ts'
import { PostgresSequence } from './postgres-sequence.ts'
import { readState } from './postgres-state.ts'
import { eraseSubject, listSubjects, readBlob, valuesOf } from './postgres-subjects.ts'
import { migrations } from './schema.ts'

const NAME = '@parapet/audit-log'
/** A {@link LogStore} over kit's SQL port. */
export class PostgresStore implements LogStore {
  readonly kind = 'postgres'
  readonly #sql: SqlClient
  readonly #origin: string
  readonly #migrates: boolean
  readonly #sequence: PostgresSequence

  /** @param migrates whether this instance creates the tables; an instance that only writes or reads does not. */
  constructor(sql: SqlClient, origin: string, migrates = true) {
    this.#sql = sql
    this.#origin = origin
    this.#migrates = migrates
    this.#sequence = new PostgresSequence(sql, origin)
  }

  async open(): Promise<void> {
    if (!this.#migrates) return
    await migrate(this.#sql, NAME, migrations)
    const state = await this.state()
    if (state !== null && this.#origin !== '' && state.origin !== this.#origin) {
      throw new PARAPET_AUDIT_LOG_CORRUPT(
        `the database contains the log "${state.origin}", not "${this.#origin}"`,
      )
    }
  }

  async append(records: readonly InboxRecord[]): Promise<void> {
    await this.#sql.query(
      `INSERT INTO audit_log_inbox (writer, seq, leaf, beside)
       SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
       ON CONFLICT DO NOTHING`,
      [
        records.map(({ writer }) => writer),
        records.map(({ seq }) => seq),
        records.map(({ leaf }) => leaf),
        records.map(({ attachments }) => attachments),
      ],
    )
  }

  sequence(plan: PlanIntegration, max: number): Promise<number> {
    return this.#sequence.run(plan, max)
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
      `SELECT index::text AS place, leaf, seq::text, ${textColumns.join(', ')},
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

  async checkpoints(after: number, limit: number): Promise<StoredCheckpoint[]> {
    const { rows } = await this.#sql.query<{ size: string; note: string }>(
      `SELECT size::text, note FROM audit_log_checkpoints AS c
       WHERE c.size > $1 ORDER BY c.size LIMIT $2`,
      [after, limit],
    )
    return rows.map(({ size, note }) => ({ size: Number(size), note }))
  }

  async search(filter: RecordFilter, before: number, limit: number): Promise<PlacedEntry[]> {
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

  valuesOf(record: string): Promise<{ value: SealedValue; key: SubjectKey }[]> {
    return valuesOf(this.#sql, record)
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

  async claimCursor(name: string, holder: string, ttlMs: number): Promise<number | null> {
    const { rows } = await this.#sql.query<{ position: string }>(
      `INSERT INTO audit_log_cursors AS c (name, holder, lease_until)
       VALUES ($1, $2, now() + $3::float8 * interval '1 millisecond')
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
         WHERE c.lease_until < now() OR c.holder = excluded.holder
       RETURNING position::text`,
      [name, holder, ttlMs],
    )
    return rows[0] === undefined ? null : Number(rows[0].position)
  }

  async moveCursor(name: string, holder: string, position: number): Promise<boolean> {
    const { rowCount } = await this.#sql.query(
      'UPDATE audit_log_cursors SET position = $3 WHERE name = $1 AND holder = $2',
      [name, holder, position],
    )
    return rowCount === 1
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
}
