/** One step of the log in PostgreSQL: one transaction. */
import type { SqlClient, SqlQueryable, SqlTransaction } from '@parapet/kit'
import {
  SequencerConflict,
  type InboxRecord,
  type Integration,
  type LogState,
  type PlanIntegration,
} from '../log/log-store.ts'
import { insertEvents } from './postgres-events.ts'
import { insertFirstState, readState, replaceState } from './postgres-state.ts'
import { addAttachments } from './postgres-subjects.ts'

/** Elects one sequencer, which saves useless work; {@link replaceState} is what prevents forks. */
const ELECT = `SELECT pg_try_advisory_xact_lock(hashtextextended('parapet_audit_log:' || current_schema(), 0)) AS elected`

/** Runs steps, and makes the partition of each month. */
export class PostgresSequence {
  readonly #sql: SqlClient
  readonly #origin: string
  readonly #months = new Set<string>()

  constructor(sql: SqlClient, origin: string) {
    this.#sql = sql
    this.#origin = origin
  }

  /** See `LogStore.sequence`. */
  async run(plan: PlanIntegration, max: number): Promise<number> {
    const month = new Date().toISOString().slice(0, 7)
    if (!this.#months.has(month)) await this.#createPartition(month)
    const count = await this.#sql.transaction(async (transaction) => {
      const { rows } = await transaction.query<{ elected: boolean }>(ELECT)
      if (rows[0]?.elected !== true) return 0
      const inbox = await readInbox(transaction, max)
      if (inbox.length === 0) return 0
      const current =
        (await readState(transaction)) ?? (await insertFirstState(transaction, this.#origin))
      const step = await plan(current, inbox, await readWriters(transaction, inbox))
      if (step !== null) await writeStep(transaction, current, step, `${month}-01`)
      const taken = await transaction.query(
        'DELETE FROM audit_log_inbox WHERE position = ANY($1::bigint[])',
        [inbox.map(({ position }) => position)],
      )
      if (taken.rowCount !== inbox.length) throw new SequencerConflict()
      return inbox.length
    })
    // Only after the database answered: if it was down, the partition is tried again.
    this.#months.add(month)
    return count
  }

  /** If this role may not create tables, the rows go to the default partition. */
  async #createPartition(month: string): Promise<void> {
    const from = new Date(`${month}-01T00:00:00Z`)
    const to = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1))
    await this.#sql
      .query(
        `CREATE TABLE IF NOT EXISTS audit_log_events_${month.replace('-', '_')} PARTITION OF audit_log_events
         FOR VALUES FROM ('${dayOf(from)}') TO ('${dayOf(to)}')`,
      )
      .catch(() => {})
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
    // Qualified: a bare `position` would be the text of the select list, which sorts 10 before 9.
    `SELECT position::text, writer, seq::text, leaf, beside FROM audit_log_inbox AS inbox
     ORDER BY inbox.position LIMIT $1`,
    [max],
  )
  return rows.map(({ position, writer, seq, leaf, beside }) => ({
    position,
    writer,
    seq: seq === null ? null : Number(seq),
    leaf,
    attachments: beside,
  }))
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
  for (const attachments of step.attachments) await addAttachments(transaction, attachments)
  await transaction.query('INSERT INTO audit_log_checkpoints (size, note) VALUES ($1, $2)', [
    step.next.size,
    step.next.note,
  ])
  await replaceState(transaction, current, step.next)
}

function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10)
}
