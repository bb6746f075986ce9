/** One step of the log in PostgreSQL: it is planned and signed first, then written in one transaction. */
import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { SqlClient, SqlTransaction } from '@parapet/kit'
import {
  SequencerConflict,
  type Integration,
  type LogState,
  type PlanIntegration,
} from '../log/log-store.ts'
import { monthOf } from '../record/projection.ts'
import type { WriterKey } from '../trust/writer-key.ts'
import { claimCursor, endLease, SEQUENCER } from './cursors.ts'
import { insertEvents } from './events.ts'
import { Holes } from './holes.ts'
import { hasRows, judgeRows, readRows, readRowsOf, type InboxRow } from './inbox.ts'
import { WriterMarks } from './marks.ts'
import { insertFirstState, readState, replaceState } from './state.ts'
import { addAttachments } from './subjects.ts'

/** How long a sequencer that hangs delays another one. */
const LEASE_MS = 10_000
/** How long an urgent step waits for the step of another process. */
const WAIT_MS = 1000
const POLL_MS = 50
/** The database ends the transaction of a process that was stopped inside it. */
const IDLE_LIMIT_MS = 10_000
const LOCK_LIMIT_MS = 5000

/** What {@link PostgresSequence} needs. */
export interface SequenceSettings {
  readonly sql: SqlClient
  readonly origin: string
  readonly writerKey: WriterKey
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

/**
 * Runs steps, and makes the partition of each month. The lease elects one sequencer, which saves
 * useless work; {@link replaceState} is what prevents forks.
 */
export class PostgresSequence {
  readonly #settings: SequenceSettings
  readonly #holder = randomBytes(8).toString('hex')
  readonly #marks = new WriterMarks()
  readonly #holes = new Holes()
  readonly #months = new Set<string>()

  constructor(settings: SequenceSettings) {
    this.#settings = settings
  }

  /** See `LogStore.sequence`. */
  async run(
    plan: PlanIntegration,
    max: number,
    urgentFor: ReadonlySet<string> | undefined,
  ): Promise<number> {
    const { sql, now } = this.#settings
    const isUrgent = urgentFor !== undefined
    for (const month of monthsFrom(now())) await this.#createPartition(month)
    if (!(await hasRows(sql))) return 0
    // Without the lease a step is safe, too: it fails if another process writes one first.
    if (!(await this.#claim(isUrgent ? WAIT_MS : 0)) && !isUrgent) return 0
    try {
      return await this.#step(plan, max, urgentFor)
    } finally {
      await endLease(sql, SEQUENCER, this.#holder).catch(() => {})
    }
  }

  async #claim(waitMs: number): Promise<boolean> {
    const { sql, writerKey } = this.#settings
    for (let left = waitMs; ; left -= POLL_MS) {
      const claimed = await claimCursor(sql, writerKey, SEQUENCER, this.#holder, LEASE_MS)
      if (claimed !== null) return true
      if (left <= 0) return false
      await setTimeout(POLL_MS)
    }
  }

  async #step(
    plan: PlanIntegration,
    max: number,
    urgentFor: ReadonlySet<string> = new Set(),
  ): Promise<number> {
    const { sql, origin, writerKey, now } = this.#settings
    const current = (await readState(sql)) ?? (await insertFirstState(sql, origin))
    const oldest = await readRows(sql, max)
    if (oldest.length === 0) return 0
    const marks = await this.#marks.of(sql, current, oldest)
    const read = await this.#fillHoles(oldest, marks, max)
    const judged = await judgeRows(sql, writerKey, read, marks)
    const inbox = this.#holes.hold(judged, marks, now(), urgentFor)
    if (inbox.length === 0) return 0
    const step = await plan(current, inbox, marks)
    const kept = new Set(inbox)
    const rows = read.filter((_, at) => kept.has(judged[at]!))
    await sql.transaction((transaction) => commitStep(transaction, rows, current, step))
    if (step !== null) this.#marks.keep(step)
    return rows.length
  }

  /** What a writer ships again comes behind its later rows. */
  async #fillHoles(
    oldest: readonly InboxRow[],
    marks: ReadonlyMap<string, number>,
    max: number,
  ): Promise<readonly InboxRow[]> {
    const holes = this.#holes.find(oldest, marks)
    if (holes.size === 0) return oldest
    const filled = new Set<string>()
    const rows: InboxRow[] = []
    for (const row of oldest) {
      const at = holes.get(row.writer)
      if (at === undefined || row.seq === null || row.seq < at) rows.push(row)
      // In the place of the first one: a later writer names the last record of this one.
      else if (!filled.has(row.writer)) {
        filled.add(row.writer)
        rows.push(...(await readRowsOf(this.#settings.sql, row.writer, at, max)))
      }
    }
    return rows
  }

  /** If this role may not create tables, the rows go to the default partition. */
  async #createPartition(month: string): Promise<void> {
    if (this.#months.has(month)) return
    const { sql } = this.#settings
    const from = new Date(`${month}-01T00:00:00Z`)
    const to = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1))
    const created = await sql
      .query(
        `CREATE TABLE IF NOT EXISTS audit_log_events_${month.replace('-', '_')} PARTITION OF audit_log_events
         FOR VALUES FROM ('${dayOf(from)}') TO ('${dayOf(to)}')`,
      )
      .then(isDone, isRefusal)
    // If the database was down, the partition is tried again.
    if (created) this.#months.add(month)
  }
}

async function commitStep(
  transaction: SqlTransaction,
  rows: readonly InboxRow[],
  current: LogState,
  step: Integration | null,
): Promise<void> {
  await transaction.query(
    `SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('lock_timeout', $2, true)`,
    [String(IDLE_LIMIT_MS), String(LOCK_LIMIT_MS)],
  )
  if (step !== null) await writeStep(transaction, current, step)
  const taken = await transaction.query(
    'DELETE FROM audit_log_inbox WHERE position = ANY($1::bigint[])',
    [rows.map(({ position }) => position)],
  )
  if (taken.rowCount !== rows.length) throw new SequencerConflict()
}

/** This month and the next, so that the first records of a month find their partition. */
function monthsFrom(now: number): string[] {
  const date = new Date(now)
  const next = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
  return [monthOf(now), monthOf(next)].map((day) => day.slice(0, -3))
}

function isDone(): true {
  return true
}

/** Whether PostgreSQL itself refused: a repetition would be refused as well. */
function isRefusal(error: unknown): boolean {
  return /^(?:42|23)/.test(String((error as { code?: unknown }).code))
}

async function writeStep(
  transaction: SqlTransaction,
  current: LogState,
  step: Integration,
): Promise<void> {
  await insertEvents(transaction, step.entries)
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
  await addAttachments(transaction, step.attachments)
  await transaction.query('INSERT INTO audit_log_checkpoints (size, note) VALUES ($1, $2)', [
    step.next.size,
    step.next.note,
  ])
  await replaceState(transaction, current, step.next)
}

function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10)
}
