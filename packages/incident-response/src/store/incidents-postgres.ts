/** Incidents in PostgreSQL or PGlite, for any number of instances. */
import { migrate, type SqlClient } from '@parapet/kit'
import type { Entry, Incident } from '../incidents/incident.ts'
import type { Run, StoredRun } from '../runs/run.ts'
import type { Task } from '../tasks/task.ts'
import { applyWrite, isConflict } from './apply-write.ts'
import { withKnownErrors } from './available.ts'
import { CLAIMED, HELD_BACK, type IncidentFilter, type IncidentStore } from './incident-store.ts'
import { migrations } from './migrations.ts'
import { isStorable } from './storable.ts'

const TASK = `id, incident_id::text AS "incidentId", kind, due_at::float8 AS "dueAt", state, attempts,
  dispatches, error, data`
const ENTRY = `seq::float8 AS seq, incident_id::text AS "incidentId", at::float8 AS at, kind,
  author AS by, text, details`
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

interface Document<T> {
  readonly document: T
}

/**
 * Creates the storage and migrates its tables.
 *
 * @param shouldMigrate `false`: they exist already.
 */
export async function createPostgresIncidents(
  sql: SqlClient,
  shouldMigrate: boolean,
): Promise<IncidentStore> {
  if (shouldMigrate) await migrate(sql, '@parapet/incident-response', migrations)
  const one = async <T>(text: string, values: readonly unknown[]): Promise<T | null> =>
    (await sql.query<Document<T>>(text, values)).rows[0]?.document ?? null
  return withKnownErrors({
    isDurable: true,
    async commit(write) {
      try {
        return await sql.transaction((transaction) => applyWrite(transaction, write))
      } catch (error) {
        if (isConflict(error)) return null
        throw error
      }
    },
    async find(id) {
      if (!UUID.test(id)) return null
      return one<Incident>('SELECT document FROM incident_response_incidents WHERE id = $1', [id])
    },
    findOpen: (fingerprint) =>
      one<Incident>(
        `SELECT document FROM incident_response_incidents JOIN incident_response_fingerprints
          ON incident_id = id WHERE fingerprint = $1`,
        [fingerprint],
      ),
    list: (filter) => list(sql, filter),
    async between(since, until, limit) {
      const { rows } = await sql.query<Document<Incident>>(
        `SELECT document FROM incident_response_incidents
          WHERE opened_at >= $1 AND opened_at < $2 ORDER BY id DESC LIMIT $3`,
        [bigintOf(since), bigintOf(until), limit],
      )
      return rows.map(({ document }) => document)
    },
    ...runsIn(sql),
    ...timelines(sql),
    ...tasks(sql),
    ...folds(sql),
    async prune(closedBefore, limit) {
      const { rowCount } = await sql.query(
        `DELETE FROM incident_response_incidents WHERE id IN (
          SELECT id FROM incident_response_incidents WHERE closed_at < $1 ORDER BY closed_at LIMIT $2)`,
        [closedBefore, limit],
      )
      return rowCount
    },
  })
}

/** A number of a client as a bigint of PostgreSQL. */
function bigintOf(value: number): number {
  return Math.min(Math.max(0, Math.floor(value)), Number.MAX_SAFE_INTEGER)
}

async function list(
  sql: SqlClient,
  { state, severity, type, assignee, before, limit }: IncidentFilter,
): Promise<readonly Incident[]> {
  if (before !== undefined && !UUID.test(before)) return []
  if (!isStorable(type ?? '') || !isStorable(assignee ?? '')) return []
  const values = [state ?? null, severity ?? null, type ?? null, assignee ?? null, before ?? null]
  const { rows } = await sql.query<Document<Incident>>(
    `SELECT document FROM incident_response_incidents
      WHERE ($1::text IS NULL OR (phase <> 'closed') = ($1 = 'open'))
        AND ($2::text IS NULL OR severity = $2) AND ($3::text IS NULL OR type = $3)
        AND ($4::text IS NULL OR assignee = $4) AND ($5::uuid IS NULL OR id < $5)
      ORDER BY id DESC LIMIT $6`,
    [...values, limit],
  )
  return rows.map(({ document }) => document)
}

function runsIn(sql: SqlClient): Pick<IncidentStore, 'runsOf' | 'findRun'> {
  return {
    async runsOf(incidentId) {
      if (!UUID.test(incidentId)) return []
      const { rows } = await sql.query<Document<Run>>(
        'SELECT document FROM incident_response_runs WHERE incident_id = $1 ORDER BY id',
        [incidentId],
      )
      return rows.map(({ document }) => document)
    },
    async findRun(id) {
      if (!UUID.test(id)) return null
      const { rows } = await sql.query<StoredRun>(
        'SELECT document AS run, program FROM incident_response_runs WHERE id = $1',
        [id],
      )
      return rows[0] ?? null
    },
  }
}

type Timelines = Pick<IncidentStore, 'timeline' | 'feed' | 'lastSeq'>

function timelines(sql: SqlClient): Timelines {
  const entries = async (where: string, values: readonly unknown[]): Promise<readonly Entry[]> =>
    (
      await sql.query<Entry>(
        `SELECT ${ENTRY} FROM incident_response_entries WHERE ${where}`,
        values,
      )
    ).rows
  return {
    async timeline(incidentId, after, limit) {
      if (!UUID.test(incidentId)) return []
      const values = [incidentId, bigintOf(after), limit]
      return entries('incident_id = $1 AND seq > $2 ORDER BY seq LIMIT $3', values)
    },
    feed: (after, limit) => entries('seq > $1 ORDER BY seq LIMIT $2', [bigintOf(after), limit]),
    async lastSeq() {
      const text = 'SELECT coalesce(max(seq), 0)::float8 AS seq FROM incident_response_entries'
      return (await sql.query<{ seq: number }>(text)).rows[0]!.seq
    },
  }
}

type Tasks = Pick<
  IncidentStore,
  'findTask' | 'lateTasks' | 'redispatch' | 'deadTasks' | 'reviveTask'
>
type Folds = Pick<IncidentStore, 'takeSlot' | 'claim' | 'takeHeldBack'>

function tasks(sql: SqlClient): Tasks {
  const read = async (rest: string, values: readonly unknown[]): Promise<Task[]> =>
    (await sql.query<Task>(`SELECT ${TASK} FROM incident_response_tasks ${rest}`, values)).rows
  return {
    findTask: async (id) =>
      isStorable(id) ? ((await read('WHERE id = $1', [id]))[0] ?? null) : null,
    lateTasks: (before, limit) =>
      read(`WHERE state = 'pending' AND due_at <= $1 ORDER BY due_at LIMIT $2`, [before, limit]),
    async redispatch(id, dispatches) {
      const { rowCount } = await sql.query(
        `UPDATE incident_response_tasks SET dispatches = dispatches + 1
          WHERE id = $1 AND state = 'pending' AND dispatches = $2`,
        [id, dispatches],
      )
      return rowCount === 1
    },
    deadTasks: (limit) => read(`WHERE state = 'dead' ORDER BY due_at DESC LIMIT $1`, [limit]),
    async reviveTask(id, dueAt) {
      if (!isStorable(id)) return null
      const { rows } = await sql.query<Task>(
        `UPDATE incident_response_tasks SET state = 'pending', attempts = 0, due_at = $2,
          dispatches = dispatches + 1 WHERE id = $1 AND state = 'dead' RETURNING ${TASK}`,
        [id, dueAt],
      )
      return rows[0] ?? null
    },
  }
}

function folds(sql: SqlClient): Folds {
  return {
    async takeSlot({ notifier, type, severity }, window, limit) {
      const { rowCount } = await sql.query(
        `INSERT INTO incident_response_message_counts AS known (key, minute, count)
          VALUES ($1, $2, 1) ON CONFLICT (key) DO UPDATE SET minute = excluded.minute,
            count = CASE WHEN known.minute = excluded.minute THEN known.count + 1 ELSE 1 END
          WHERE known.minute <> excluded.minute OR known.count < $3`,
        [`${notifier} ${type} ${severity}`, window, limit],
      )
      return rowCount === 1
    },
    async claim({ id, dueAt }, until) {
      const { rowCount } = await sql.query(
        `UPDATE incident_response_tasks SET due_at = $3, error = '${CLAIMED}'
          WHERE id = $1 AND state = 'pending' AND due_at = $2`,
        [id, dueAt, until],
      )
      return rowCount === 1
    },
    async takeHeldBack({ notifier, type, severity }, now, until, limit) {
      const { rows } = await sql.query<Task>(
        `UPDATE incident_response_tasks SET due_at = $6, error = '${CLAIMED}' WHERE id IN (
          SELECT task.id FROM incident_response_tasks AS task
            JOIN incident_response_incidents AS incident ON incident.id = incident_id
            WHERE task.state = 'pending' AND task.due_at <= $5 AND task.error = '${HELD_BACK}'
              AND task.data->>'notifier' = $1 AND incident.type = $2 AND incident.severity = $3
            ORDER BY task.id LIMIT $4 FOR UPDATE OF task SKIP LOCKED) RETURNING ${TASK}`,
        [notifier, type, severity, limit, now, until],
      )
      return rows
    },
  }
}
