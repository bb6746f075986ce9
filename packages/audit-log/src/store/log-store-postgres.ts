/**
 * The log in PostgreSQL, or in PGlite: one step of the log is one transaction.
 *
 * The file is as long as the port is wide: one short method for each promise of {@link LogStore}.
 */
import { migrate, type SqlClient, type SqlQueryable, type SqlTransaction } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { emptyState } from '../log/integration.ts'
import type { RecordFilter } from '../read/filter.ts'
import type { SealedValue, SubjectKey } from '../record/personal.ts'
import * as beside from './beside-postgres.ts'
import { insertEvents, searchSql } from './events-postgres.ts'
import type {
  InboxRecord,
  Integration,
  LogState,
  LogStore,
  PlacedEntry,
  PlanIntegration,
  StoredCheckpoint,
  SubjectState,
} from './log-store.ts'
import { textColumns } from './projection.ts'
import { migrations } from './schema.ts'

interface StateRow {
  origin: string
  size: string
  root: string
  edge: string
  min_index: string
  note: string
}

const NAME = '@parapet/audit-log'
/** Elects one sequencer, so that others do not work in vain; safety rests on {@link casState}. */
const ELECT = `SELECT pg_try_advisory_xact_lock(hashtextextended('parapet_audit_log:' || current_schema(), 0)) AS elected`
const STATE = `SELECT origin, size::text, root, edge, min_index::text, note FROM audit_log_state`

/** A {@link LogStore} over kit's SQL port. */
export class PostgresStore implements LogStore {
  readonly kind = 'postgres'
  readonly #sql: SqlClient
  readonly #origin: string
  readonly #migrates: boolean
  readonly #months = new Set<string>()

  /** @param migrates whether this instance owns the tables; a mere writer or reader does not. */
  constructor(sql: SqlClient, origin: string, migrates = true) {
    this.#sql = sql
    this.#origin = origin
    this.#migrates = migrates
  }

  async open(): Promise<void> {
    if (!this.#migrates) return
    await migrate(this.#sql, NAME, migrations)
    const state = await this.state()
    if (state !== null && this.#origin !== '' && state.origin !== this.#origin) {
      throw new PARAPET_AUDIT_LOG_CORRUPT(`the database holds the log "${state.origin}"`)
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
        records.map(({ beside: text }) => text),
      ],
    )
  }

  async sequence(plan: PlanIntegration, max: number): Promise<number> {
    const month = new Date().toISOString().slice(0, 7)
    if (!this.#months.has(month)) await this.#preparePartition(month)
    const count = await this.#sql.transaction(async (transaction) => {
      const { rows } = await transaction.query<{ elected: boolean }>(ELECT)
      if (rows[0]?.elected !== true) return 0
      const inbox = await readInbox(transaction, max)
      if (inbox.length === 0) return 0
      const current = (await readState(transaction)) ?? (await this.#firstState(transaction))
      const step = await plan(current, inbox, await readWriters(transaction, inbox))
      if (step !== null) await writeStep(transaction, current, step, `${month}-01`)
      const taken = await transaction.query(
        'DELETE FROM audit_log_inbox WHERE position = ANY($1::bigint[])',
        [inbox.map(({ position }) => position)],
      )
      if (taken.rowCount !== inbox.length) throw conflict()
      return inbox.length
    })
    // Not before the database answered: a month that was asked for while it was down is asked for again.
    this.#months.add(month)
    return count
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
    return beside.valuesOf(this.#sql, record)
  }

  blob(sha256: string): Promise<string | undefined> {
    return beside.blob(this.#sql, sha256)
  }

  eraseSubject(subject: string, time: number): Promise<{ keys: number; values: number }> {
    return beside.eraseSubject(this.#sql, subject, time)
  }

  subjects(after: string, limit: number): Promise<SubjectState[]> {
    return beside.subjects(this.#sql, after, limit)
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

  async #firstState(transaction: SqlTransaction): Promise<LogState> {
    const state = emptyState(this.#origin)
    await transaction.query(
      `INSERT INTO audit_log_state (origin, size, root, edge, note) VALUES ($1, 0, $2, '[]', '')`,
      [state.origin, state.root.toString('base64')],
    )
    return state
  }

  /** Where this role may not create tables, the months share the default partition. */
  async #preparePartition(month: string): Promise<void> {
    const from = new Date(`${month}-01T00:00:00Z`)
    const to = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1))
    await this.#sql
      .query(
        `CREATE TABLE IF NOT EXISTS audit_log_events_${month.replace('-', '_')} PARTITION OF audit_log_events
         FOR VALUES FROM ('${day(from)}') TO ('${day(to)}')`,
      )
      .catch(() => {})
  }
}

async function readState(sql: SqlQueryable): Promise<LogState | null> {
  const { rows } = await sql.query<StateRow>(STATE)
  const row = rows[0]
  if (row === undefined) return null
  return {
    origin: row.origin,
    size: Number(row.size),
    root: Buffer.from(row.root, 'base64'),
    edge: parseEdge(row.edge),
    minIndex: Number(row.min_index),
    note: row.note,
  }
}

function parseEdge(text: string): Buffer[] {
  try {
    return (JSON.parse(text) as string[]).map((tile) => Buffer.from(tile, 'base64'))
  } catch {
    throw new PARAPET_AUDIT_LOG_CORRUPT('the edge of the tree cannot be read')
  }
}

async function readInbox(sql: SqlQueryable, max: number) {
  const { rows } = await sql.query<{
    position: string
    writer: string
    seq: string | null
    leaf: string
    beside: string | null
  }>(
    // Qualified: a bare name would mean the text in the select list, and sort 10 before 9.
    `SELECT position::text, writer, seq::text, leaf, beside FROM audit_log_inbox AS inbox
     ORDER BY inbox.position LIMIT $1`,
    [max],
  )
  return rows.map((row) => ({ ...row, seq: row.seq === null ? null : Number(row.seq) }))
}

async function readWriters(sql: SqlQueryable, inbox: readonly InboxRecord[]) {
  const { rows } = await sql.query<{ writer: string; next: string }>(
    'SELECT writer, next_seq::text AS next FROM audit_log_writers WHERE writer = ANY($1::text[])',
    [[...new Set(inbox.map(({ writer }) => writer))]],
  )
  return new Map(rows.map(({ writer, next }) => [writer, Number(next)]))
}

async function writeStep(
  transaction: SqlTransaction,
  current: LogState,
  step: Integration,
  month: string,
): Promise<void> {
  await insertEvents(transaction, step.entries, month)
  await transaction.query(
    `INSERT INTO audit_log_tiles (level, index, hashes)
     SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])
     ON CONFLICT (level, index) DO UPDATE SET hashes = excluded.hashes`,
    [
      step.tiles.map(({ level }) => level),
      step.tiles.map(({ index }) => index),
      step.tiles.map(({ hashes }) => hashes),
    ],
  )
  await transaction.query(
    `INSERT INTO audit_log_writers (writer, next_seq) SELECT * FROM unnest($1::text[], $2::bigint[])
     ON CONFLICT (writer) DO UPDATE SET next_seq = excluded.next_seq`,
    [[...step.writers.keys()], [...step.writers.values()]],
  )
  for (const item of step.beside) await beside.addBeside(transaction, item)
  await transaction.query('INSERT INTO audit_log_checkpoints (size, note) VALUES ($1, $2)', [
    step.next.size,
    step.next.note,
  ])
  await casState(transaction, current, step.next)
}

/** The step happens only if the log still is what the plan began with: two sequencers cannot fork it. */
async function casState(sql: SqlQueryable, current: LogState, next: LogState): Promise<void> {
  const { rowCount } = await sql.query(
    `UPDATE audit_log_state SET size = $1, root = $2, edge = $3, note = $4
     WHERE size = $5 AND root = $6`,
    [
      next.size,
      next.root.toString('base64'),
      JSON.stringify(next.edge.map((tile) => tile.toString('base64'))),
      next.note,
      current.size,
      current.root.toString('base64'),
    ],
  )
  if (rowCount !== 1) throw conflict()
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}

function conflict(): Error {
  return new Error('another sequencer was faster')
}
