/** The inbox in PostgreSQL: rows that writers add, each with a MAC by the writers' key. */
import type { SqlQueryable } from '@parapet/kit'
import type { InboxRecord } from '../log/log-store.ts'
import { parseLeaf } from '../record/leaf.ts'
import { isRecordId } from '../record/validate.ts'
import type { WriterKey } from '../trust/writer-key.ts'
import { textArray } from './text-array.ts'

/** A row of the inbox. */
export interface InboxRow extends InboxRecord {
  readonly position: string
  readonly mac: string | null
}

/** Adds records; a repetition changes nothing. */
export async function appendRows(
  sql: SqlQueryable,
  writerKey: WriterKey,
  records: readonly InboxRecord[],
): Promise<void> {
  await sql.query(
    `INSERT INTO audit_log_inbox (writer, seq, leaf, beside, mac)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[])
     ON CONFLICT DO NOTHING`,
    [
      textArray(records.map(({ writer }) => writer)),
      records.map(({ seq }) => seq),
      textArray(records.map(({ leaf }) => leaf)),
      textArray(records.map(({ attachments }) => attachments)),
      textArray(records.map((record) => writerKey.macOfRow(record))),
    ],
  )
}

/** Whether a record waits; reads no row. */
export async function hasRows(sql: SqlQueryable): Promise<boolean> {
  const { rows } = await sql.query<{ waits: boolean }>(
    'SELECT EXISTS (SELECT FROM audit_log_inbox) AS waits',
  )
  return rows[0]?.waits === true
}

/** The oldest rows. */
export async function readRows(sql: SqlQueryable, max: number): Promise<InboxRow[]> {
  // Qualified: a bare `position` would be the text of the select list, which sorts 10 before 9.
  return inOrder(await selectRows(sql, 'ORDER BY inbox.position LIMIT $1', [max]))
}

/** The rows of a writer from a number on, in the order of their numbers. */
export function readRowsOf(
  sql: SqlQueryable,
  writer: string,
  from: number,
  max: number,
): Promise<InboxRow[]> {
  const order = 'WHERE inbox.writer = $1 AND inbox.seq >= $2 ORDER BY inbox.seq LIMIT $3'
  return selectRows(sql, order, [writer, from, max])
}

async function selectRows(
  sql: SqlQueryable,
  order: string,
  values: readonly unknown[],
): Promise<InboxRow[]> {
  const { rows } = await sql.query<{
    position: string
    writer: string
    seq: string | null
    leaf: string
    beside: string | null
    mac: string | null
  }>(
    `SELECT position::text, writer, seq::text, leaf, beside, mac FROM audit_log_inbox AS inbox ${order}`,
    values,
  )
  return rows.map(({ position, writer, seq, leaf, beside, mac }) => ({
    position,
    writer,
    seq: seq === null ? null : Number(seq),
    leaf,
    attachments: beside,
    mac,
  }))
}

/** Orders the rows of each writer by their numbers, in the places that they have. */
function inOrder(rows: readonly InboxRow[]): InboxRow[] {
  const sorted = new Map<string, InboxRow[]>()
  for (const row of rows) {
    if (row.seq === null) continue
    const own = sorted.get(row.writer)
    if (own === undefined) sorted.set(row.writer, [row])
    else own.push(row)
  }
  for (const own of sorted.values()) own.sort((a, b) => b.seq! - a.seq!)
  return rows.map((row) => (row.seq === null ? row : sorted.get(row.writer)!.pop()!))
}

/** Removes rows of a writer by their numbers. */
export async function removeRows(
  sql: SqlQueryable,
  writer: string,
  ranges: readonly (readonly [from: number, to: number])[],
): Promise<void> {
  await sql.query(
    `DELETE FROM audit_log_inbox AS i USING unnest($2::bigint[], $3::bigint[]) AS r (low, high)
     WHERE i.writer = $1 AND i.seq BETWEEN r.low AND r.high`,
    [writer, ranges.map(([from]) => from), ranges.map(([, to]) => to)],
  )
}

/** The time of the oldest record in the inbox. */
export async function oldestRowTime(sql: SqlQueryable): Promise<number | null> {
  const [oldest] = await readRows(sql, 1)
  return oldest === undefined ? null : (parseLeaf(oldest.leaf)?.time ?? null)
}

/**
 * Marks the rows that must not enter the log.
 *
 * @param marks the next number of each writer.
 */
export async function judgeRows(
  sql: SqlQueryable,
  writerKey: WriterKey,
  rows: readonly InboxRow[],
  marks: ReadonlyMap<string, number>,
): Promise<InboxRecord[]> {
  // A forged row may contain anything, so nothing of it reaches the database again.
  const genuine = new Set(rows.filter((row) => writerKey.isRow(row, row.mac)))
  const ids = rows.map((row) => (genuine.has(row) && isOld(row, marks) ? idOf(row) : undefined))
  const logged = await loggedIds(
    sql,
    ids.filter((id) => id !== undefined),
  )
  const seen = new Set<string>()
  const since = rows.some(({ seq }) => seq === null) ? await oldestEntryTime(sql) : -Infinity
  return rows.map((row, at): InboxRecord => {
    if (!genuine.has(row)) return { ...row, refusal: 'forged' }
    const id = ids[at]
    if (id === undefined) return row
    if (row.seq !== null) return logged.has(id) ? row : { ...row, refusal: 'outdated' }
    // Records of the app's transactions have no numbers, so that only their ids show a replay.
    const isKnown = logged.has(id) || seen.has(id) || (parseLeaf(row.leaf)?.time ?? 0) < since
    seen.add(id)
    return isKnown ? { ...row, refusal: 'replayed' } : row
  })
}

function isOld({ writer, seq }: InboxRow, marks: ReadonlyMap<string, number>): boolean {
  return seq === null || seq < (marks.get(writer) ?? 0)
}

/** `undefined` for an id that no record can have; such a row is refused by the plan. */
function idOf({ leaf }: InboxRow): string | undefined {
  const id: unknown = parseLeaf(leaf)?.id
  return typeof id === 'string' && isRecordId(id) ? id : undefined
}

async function loggedIds(sql: SqlQueryable, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  const { rows } = await sql.query<{ id: string }>(
    'SELECT id FROM audit_log_events WHERE id = ANY($1::text[])',
    [ids],
  )
  return new Set(rows.map(({ id }) => id))
}

/** In a pruned log, an older record may have been in the log before. */
async function oldestEntryTime(sql: SqlQueryable): Promise<number> {
  const { rows } = await sql.query<{ time: number }>(
    `SELECT (extract(epoch FROM time) * 1000)::float8 AS time FROM audit_log_events
     WHERE index = (SELECT min_index FROM audit_log_state WHERE min_index > 0)`,
  )
  return rows[0]?.time ?? -Infinity
}
