/** Subject keys, personal values and large members in PostgreSQL. */
import { createHash } from 'node:crypto'
import type { SqlClient, SqlQueryable } from '@parapet/kit'
import type { StoredValue, SubjectState } from '../log/log-store.ts'
import type { Attachments, SealedValue, SubjectKey } from '../record/personal-data.ts'
import { textArray } from './text-array.ts'

/** How many rows one statement stores. */
const ROWS = 1000

/** Stores attachments of many records; a key that is older than the erasure of its subject is ignored. */
export async function addAttachments(
  sql: SqlQueryable,
  items: readonly Attachments[],
): Promise<void> {
  // Each value needs its key, which may come with an earlier record.
  for (const keys of inChunks(items.flatMap(({ keys: own = [] }) => own))) await addKeys(sql, keys)
  for (const values of inChunks(items.flatMap(({ values: own = [] }) => own))) {
    await addValues(sql, values)
  }
  for (const { blob } of items) {
    if (blob === undefined) continue
    await sql.query(
      'INSERT INTO audit_log_blobs (sha256, blob) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [createHash('sha256').update(blob).digest('hex'), blob],
    )
  }
}

function* inChunks<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += ROWS) yield rows.slice(at, at + ROWS)
}

async function addKeys(sql: SqlQueryable, keys: readonly SubjectKey[]): Promise<void> {
  await sql.query(
    `INSERT INTO audit_log_subject_keys (id, subject, sealed, created_at)
     SELECT k.* FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
       AS k (id, subject, sealed, created_at)
     WHERE NOT EXISTS (
       SELECT FROM audit_log_erasures e WHERE e.subject = k.subject AND e.erased_at >= k.created_at)
     ON CONFLICT DO NOTHING`,
    [
      textArray(keys.map(({ id }) => id)),
      textArray(keys.map(({ subject }) => subject)),
      textArray(keys.map(({ sealed }) => sealed)),
      keys.map(({ createdAt }) => createdAt),
    ],
  )
}

async function addValues(sql: SqlQueryable, values: readonly SealedValue[]): Promise<void> {
  await sql.query(
    `INSERT INTO audit_log_values (record, path, subject, key_id, sealed)
     SELECT v.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
       AS v (record, path, subject, key_id, sealed)
     WHERE EXISTS (SELECT FROM audit_log_subject_keys k WHERE k.id = v.key_id)
     ON CONFLICT DO NOTHING`,
    [
      textArray(values.map(({ record }) => record)),
      textArray(values.map(({ path }) => path)),
      textArray(values.map(({ subject }) => subject)),
      textArray(values.map(({ keyId }) => keyId)),
      textArray(values.map(({ sealed }) => sealed)),
    ],
  )
}

/** The personal values of records whose keys still exist, with these keys. */
export async function valuesOf(
  sql: SqlQueryable,
  records: readonly string[],
): Promise<StoredValue[]> {
  const { rows } = await sql.query<{
    record: string
    path: string
    subject: string
    key_id: string
    value: string
    key: string
    created_at: string
  }>(
    `SELECT v.record, v.path, v.subject, v.key_id, v.sealed AS value, k.sealed AS key, k.created_at::text
     FROM audit_log_values v JOIN audit_log_subject_keys k ON k.id = v.key_id WHERE v.record = ANY($1::text[])`,
    [records],
  )
  return rows.map(
    ({ record, path, subject, key_id: keyId, value, key, created_at: createdAt }) => ({
      value: { record, path, subject, keyId, sealed: value },
      key: { id: keyId, subject, sealed: key, createdAt: Number(createdAt) },
    }),
  )
}

/** The text with this hash. */
export async function readBlob(sql: SqlQueryable, sha256: string): Promise<string | undefined> {
  const { rows } = await sql.query<{ blob: string }>(
    'SELECT blob FROM audit_log_blobs WHERE sha256 = $1',
    [sha256],
  )
  return rows[0]?.blob
}

/** Deletes keys and values, and stores the time, so that older keys that arrive later are ignored. */
export async function eraseSubject(
  sql: SqlClient,
  subject: string,
  time: number,
): Promise<{ keys: number; values: number }> {
  return sql.transaction(async (transaction) => {
    await transaction.query(
      `INSERT INTO audit_log_erasures (subject, erased_at) VALUES ($1, $2)
       ON CONFLICT (subject) DO UPDATE SET erased_at = excluded.erased_at`,
      [subject, time],
    )
    const keys = await transaction.query('DELETE FROM audit_log_subject_keys WHERE subject = $1', [
      subject,
    ])
    const values = await transaction.query('DELETE FROM audit_log_values WHERE subject = $1', [
      subject,
    ])
    return { keys: keys.rowCount, values: values.rowCount }
  })
}

interface SubjectRow {
  subject: string
  keys: string
  held: string
  erased: string | null
}

const COUNTS = `s.subject,
  (SELECT count(*) FROM audit_log_subject_keys k WHERE k.subject = s.subject)::text AS keys,
  (SELECT count(*) FROM audit_log_values v WHERE v.subject = s.subject)::text AS held,
  (SELECT erased_at FROM audit_log_erasures e WHERE e.subject = s.subject)::text AS erased`

/** Subjects with a pseudonym above `after`, in order. */
export async function listSubjects(
  sql: SqlQueryable,
  after: string,
  limit: number,
): Promise<SubjectState[]> {
  const { rows } = await sql.query<SubjectRow>(
    `SELECT ${COUNTS}
     FROM (SELECT subject FROM audit_log_subject_keys UNION SELECT subject FROM audit_log_values
           UNION SELECT subject FROM audit_log_erasures) s
     WHERE s.subject COLLATE "C" > $1 ORDER BY s.subject COLLATE "C" LIMIT $2`,
    [after, limit],
  )
  return rows.map(stateOf)
}

/** One subject; without keys, values and erasure if it is not stored. */
export async function readSubject(sql: SqlQueryable, subject: string): Promise<SubjectState> {
  const { rows } = await sql.query<SubjectRow>(
    `SELECT ${COUNTS} FROM (SELECT $1::text AS subject) s`,
    [subject],
  )
  return stateOf(rows[0]!)
}

function stateOf({ subject, keys, held, erased }: SubjectRow): SubjectState {
  return {
    subject,
    keys: Number(keys),
    values: Number(held),
    erasedAt: erased === null ? null : Number(erased),
  }
}
