/** Entries and their query columns in PostgreSQL. */
import type { SqlQueryable } from '@parapet/kit'
import type { Integration, Logged } from '../log/log-store.ts'
import { filterColumns, type ResolvedFilter } from '../record/filter.ts'
import { monthOf, projectRecord, textColumns } from '../record/projection.ts'
import { textArray } from './text-array.ts'

const INSUFFICIENT_PRIVILEGE = '42501'

/** Inserts entries and their columns in one statement. */
export async function insertEvents(
  sql: SqlQueryable,
  entries: Integration['entries'],
): Promise<void> {
  const rows = entries.map(({ record }) => projectRecord(record))
  const texts = textColumns.map((_, at) => `$${at + 6}::text[]`)
  await sql.query(
    `INSERT INTO audit_log_events (month, index, leaf, time, seq, ${textColumns.join(', ')})
     SELECT m, i, l, to_timestamp(t / 1000.0), s, ${textColumns.join(', ')}
     FROM unnest($1::date[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], ${texts.join(', ')})
       AS r (m, i, l, t, s, ${textColumns.join(', ')})`,
    [
      textArray(rows.map(({ time }) => monthOf(time))),
      entries.map(({ index }) => index),
      textArray(entries.map(({ leaf }) => leaf)),
      rows.map(({ time }) => time),
      rows.map(({ seq }) => seq),
      ...textColumns.map((column) => textArray(rows.map((row) => row[column]))),
    ],
  )
}

/** The statement of a search, newest first. Every value is a parameter. */
export function searchSql(
  filter: ResolvedFilter,
  before: number,
  limit: number,
): { text: string; values: unknown[] } {
  const values: unknown[] = [before]
  const conditions = ['index < $1']
  const add = (condition: (place: string) => string, value: unknown) => {
    values.push(value)
    conditions.push(condition(`$${values.length}`))
  }
  for (const [name, column] of Object.entries(filterColumns)) {
    const value = filter[name as keyof typeof filterColumns]
    if (value !== undefined) add((place) => `${column} = ${place}`, value)
  }
  const { action, since, until } = filter
  if (action?.endsWith('*') === true) {
    add((place) => `starts_with(action, ${place})`, action.slice(0, -1))
  } else if (action !== undefined) {
    add((place) => `action = ${place}`, action)
  }
  if (since !== undefined) add((place) => `time >= ${at(place)}`, since)
  if (until !== undefined) add((place) => `time < ${at(place)}`, until)
  values.push(limit)
  return {
    text: `SELECT index::text AS place, leaf FROM audit_log_events WHERE ${conditions.join(' AND ')}
           ORDER BY index DESC LIMIT $${values.length}`,
    values,
  }
}

function at(place: string): string {
  return `to_timestamp(${place}::float8 / 1000.0)`
}

/** See `LogStore.logged`. */
export async function countLogged(
  sql: SqlQueryable,
  writer: string,
  first: number,
  last: number,
  after: number,
): Promise<Logged | null> {
  try {
    const { rows } = await sql.query<{ count: number; seq: number; index: number }>(
      `SELECT (count(*) FILTER (WHERE seq BETWEEN $2 AND $3))::float8 AS count,
         coalesce(max(seq), -1)::float8 AS seq, coalesce(max(index), -1)::float8 AS index
       FROM audit_log_events WHERE writer = $1 AND index > $4`,
      [writer, first, last, after],
    )
    const { count, seq, index } = rows[0]!
    return { count, lastSeq: seq, lastIndex: index }
  } catch (error) {
    if ((error as { code?: string }).code === INSUFFICIENT_PRIVILEGE) return null
    throw error
  }
}
