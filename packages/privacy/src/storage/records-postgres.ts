/** Records in PostgreSQL or PGlite. */
import type { SqlClient } from '@parapet/kit'
import type { RecordFilter, RecordKind, Records, StoredRecord } from './records.ts'

const COLUMNS = `kind, id, version, owner, topic, unique_key AS "uniqueKey", time::float8 AS time, body`

/** Stores records in the table `privacy_records`. */
export function createSqlRecords(sql: SqlClient): Records {
  return {
    async insert({ kind, id, owner, topic, uniqueKey, time, body }) {
      const { rowCount } = await sql.query(
        `INSERT INTO privacy_records (kind, id, owner, topic, unique_key, time, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb) ON CONFLICT DO NOTHING`,
        [kind, id, owner, topic, uniqueKey, time, JSON.stringify(body)],
      )
      return rowCount === 1
    },
    async find<Body>(kind: RecordKind, id: string) {
      const { rows } = await sql.query<StoredRecord<Body>>(
        `SELECT ${COLUMNS} FROM privacy_records WHERE kind = $1 AND id = $2`,
        [kind, id],
      )
      return rows[0] ?? null
    },
    async save({ kind, id, version, owner, topic, uniqueKey, time, body }) {
      try {
        const { rowCount } = await sql.query(
          `UPDATE privacy_records
              SET version = version + 1, owner = $4, topic = $5, unique_key = $6, time = $7, body = $8::jsonb
            WHERE kind = $1 AND id = $2 AND version = $3`,
          [kind, id, version, owner, topic, uniqueKey, time, JSON.stringify(body)],
        )
        return rowCount === 1
      } catch (error) {
        // unique_violation, serialization_failure, deadlock_detected: another writer was first.
        if (CONFLICTS.has((error as { code?: unknown }).code)) return false
        throw error
      }
    },
    async list<Body>(kind: RecordKind, filter: RecordFilter) {
      const { owner = null, topic = null, after, limit, order = 'latest' } = filter
      const [sign, direction] = order === 'latest' ? ['<', 'DESC'] : ['>', 'ASC']
      const { rows } = await sql.query<StoredRecord<Body>>(
        `SELECT ${COLUMNS} FROM privacy_records
          WHERE kind = $1 AND ($2::text IS NULL OR owner = $2) AND ($3::text IS NULL OR topic = $3)
            AND ($4::bigint IS NULL OR (time, id) ${sign} ($4, $5::text))
          ORDER BY time ${direction}, id ${direction} LIMIT $6`,
        [kind, owner, topic, after?.time ?? null, after?.id ?? null, limit],
      )
      return rows
    },
    async missing(kind, ids) {
      const { rows } = await sql.query<{ id: string }>(
        `SELECT given.id FROM unnest($2::text[]) AS given (id)
          WHERE NOT EXISTS (SELECT FROM privacy_records r WHERE r.kind = $1 AND r.id = given.id)`,
        [kind, ids],
      )
      return rows.map(({ id }) => id)
    },
    async remove(kind, id) {
      const { rowCount } = await sql.query(
        'DELETE FROM privacy_records WHERE kind = $1 AND id = $2',
        [kind, id],
      )
      return rowCount === 1
    },
  }
}

const CONFLICTS = new Set<unknown>(['23505', '40001', '40P01'])
