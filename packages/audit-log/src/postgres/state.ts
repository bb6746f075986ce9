/** The state of the log in PostgreSQL: one row, which is changed by compare-and-set. */
import type { SqlQueryable } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_CORRUPT } from '../errors.ts'
import { emptyState, SequencerConflict, type LogState } from '../log/log-store.ts'

interface StateRow {
  origin: string
  size: string
  root: string
  edge: string
  min_index: string
  note: string
}

/** Reads the state; `null` before the first step. */
export async function readState(sql: SqlQueryable): Promise<LogState | null> {
  const { rows } = await sql.query<StateRow>(
    `SELECT origin, size::text, root, edge, min_index::text, note FROM audit_log_state`,
  )
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

/** Inserts the state of an empty log. */
export async function insertFirstState(sql: SqlQueryable, origin: string): Promise<LogState> {
  const state = emptyState(origin)
  await sql.query(
    `INSERT INTO audit_log_state (origin, size, root, edge, note) VALUES ($1, 0, $2, '[]', '')`,
    [state.origin, state.root.toString('base64')],
  )
  return state
}

/**
 * Replaces the state only if the log still has the size and root that the plan started from, so that
 * two sequencers cannot fork the log.
 *
 * @throws SequencerConflict another sequencer wrote a step first.
 */
export async function replaceState(
  sql: SqlQueryable,
  current: LogState,
  next: LogState,
): Promise<void> {
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
  if (rowCount !== 1) throw new SequencerConflict()
}

function parseEdge(text: string): Buffer[] {
  try {
    return (JSON.parse(text) as string[]).map((tile) => Buffer.from(tile, 'base64'))
  } catch {
    throw new PARAPET_AUDIT_LOG_CORRUPT('the stored edge of the tree is not valid JSON')
  }
}
