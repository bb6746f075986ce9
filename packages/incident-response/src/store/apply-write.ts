/** Applies one write inside a transaction: each precondition is part of a statement. */
import type { SqlTransaction } from '@parapet/kit'
import { isOpen, type Entry, type Incident } from '../incidents/incident.ts'
import type { Write } from './incident-store.ts'
import { storableJson } from './storable.ts'

/** A precondition does not hold; the transaction is rolled back. */
class WriteConflict extends Error {
  override readonly name = 'WriteConflict'
}

/** Unique violation, serialization failure, deadlock: another instance was faster. */
const CONFLICTS = new Set(['23505', '40001', '40P01'])

/** Whether the write must be made again from what is stored now. */
export function isConflict(error: unknown): boolean {
  if (error instanceof WriteConflict) return true
  const { code, cause } = (error ?? {}) as { readonly code?: unknown; readonly cause?: unknown }
  if (typeof code === 'string' && CONFLICTS.has(code)) return true
  return cause !== undefined && isConflict(cause)
}

/** Entries become visible in the order of their numbers, so that a feed misses none. */
const LOCK_ENTRIES = `SELECT pg_advisory_xact_lock(
  hashtextextended('incident_response_entries:' || current_schema(), 0))`

/** @throws WriteConflict */
export async function applyWrite(sql: SqlTransaction, write: Write): Promise<readonly Entry[]> {
  // In one order for all, so that two writes cannot wait for each other.
  const incidents = [...(write.incidents ?? [])].toSorted((a, b) => compare(a.next.id, b.next.id))
  for (const { next, expected } of incidents) await putIncident(sql, next, expected)
  // Fingerprints are given up before they are taken.
  for (const { next } of incidents.toSorted(
    (a, b) => Number(isOpen(a.next)) - Number(isOpen(b.next)),
  )) {
    await putFingerprints(sql, next)
  }
  await putRuns(sql, write)
  await putTasks(sql, write)
  return putEntries(sql, write)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : 1
}

async function putIncident(
  sql: SqlTransaction,
  next: Incident,
  expected: number | null,
): Promise<void> {
  const { id, version, type, severity, phase, assignee, openedAt, closedAt } = next
  const values = [id, version, type, severity, phase, assignee, openedAt, closedAt]
  const document = storableJson(next)
  if (expected === null) {
    await sql.query(
      `INSERT INTO incident_response_incidents
        (id, version, type, severity, phase, assignee, opened_at, closed_at, document)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [...values, document],
    )
    return
  }
  const { rowCount } = await sql.query(
    `UPDATE incident_response_incidents SET version = $2, type = $3, severity = $4, phase = $5,
      assignee = $6, opened_at = $7, closed_at = $8, document = $9 WHERE id = $1 AND version = $10`,
    [...values, document, expected],
  )
  if (rowCount !== 1) throw new WriteConflict('the incident has another version')
}

async function putFingerprints(sql: SqlTransaction, incident: Incident): Promise<void> {
  const fingerprints = isOpen(incident) ? incident.fingerprints : []
  await sql.query(
    `DELETE FROM incident_response_fingerprints WHERE incident_id = $1 AND NOT fingerprint = ANY ($2)`,
    [incident.id, fingerprints],
  )
  if (fingerprints.length === 0) return
  await sql.query(
    `INSERT INTO incident_response_fingerprints (fingerprint, incident_id)
      SELECT each, $1 FROM unnest($2::text[]) AS each
      WHERE NOT EXISTS (SELECT 1 FROM incident_response_fingerprints
        WHERE fingerprint = each AND incident_id = $1)`,
    [incident.id, fingerprints],
  )
}

async function putRuns(sql: SqlTransaction, { runs = [] }: Write): Promise<void> {
  for (const { next, expected, program } of runs) {
    const { id, incidentId, version } = next
    if (expected === null) {
      await sql.query(
        `INSERT INTO incident_response_runs (id, incident_id, version, document, program)
          VALUES ($1, $2, $3, $4, $5)`,
        [id, incidentId, version, storableJson(next), storableJson(program)],
      )
      continue
    }
    const { rowCount } = await sql.query(
      `UPDATE incident_response_runs SET version = $2, document = $3 WHERE id = $1 AND version = $4`,
      [id, version, storableJson(next), expected],
    )
    if (rowCount !== 1) throw new WriteConflict('the run has another version')
  }
}

async function putTasks(sql: SqlTransaction, write: Write): Promise<void> {
  const { tasks = [], ended = [], postponed = [] } = write
  for (const { id, state, error = null } of ended) {
    const { rowCount } = await sql.query(
      `UPDATE incident_response_tasks SET state = $2, error = $3 WHERE id = $1 AND state = 'pending'`,
      [id, state, error],
    )
    if (rowCount !== 1) throw new WriteConflict('the task has ended')
  }
  for (const { id, dueAt, error = null, isHeldBack = false } of postponed) {
    const counter = isHeldBack ? 'dispatches' : 'attempts'
    const { rowCount } = await sql.query(
      `UPDATE incident_response_tasks SET due_at = $2, error = $3, ${counter} = ${counter} + 1
        WHERE id = $1 AND state = 'pending'`,
      [id, dueAt, error],
    )
    if (rowCount !== 1) throw new WriteConflict('the task has ended')
  }
  for (const { id, incidentId, kind, dueAt, data } of tasks) {
    await sql.query(
      `INSERT INTO incident_response_tasks (id, incident_id, kind, due_at, data)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
      [id, incidentId, kind, dueAt, storableJson(data)],
    )
  }
}

async function putEntries(sql: SqlTransaction, { entries = [] }: Write): Promise<Entry[]> {
  if (entries.length === 0) return []
  await sql.query(LOCK_ENTRIES)
  const stored: Entry[] = []
  for (const entry of entries) {
    const { incidentId, at, kind, by, text, details = {} } = entry
    const { rows } = await sql.query<{ seq: number }>(
      `INSERT INTO incident_response_entries (incident_id, at, kind, author, text, details)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING seq::float8 AS seq`,
      [incidentId, at, kind, by, text, storableJson(details)],
    )
    stored.push({ ...entry, details, seq: rows[0]!.seq })
  }
  return stored
}
