/** The key store in PostgreSQL, over kit's `SqlClient`: a `pg` pool, or PGlite. */
import { migrate, type Migration, type SqlClient } from '@parapet/kit'
import type { KeyRecord, KeyStore } from './key-store.ts'

/** Back these tables up separately, and keep the backups no longer than an erasure may take. */
const migrations: readonly Migration[] = [
  {
    id: '0001_create_keys',
    sql: `
      CREATE TABLE parapet_field_encryption_keys (
        tenant       text    NOT NULL,
        subject      text    NOT NULL,
        keyset       text,
        wrapped_by   bigint  NOT NULL,
        version      integer NOT NULL,
        rotated_at   bigint  NOT NULL,
        forgotten_at bigint,
        legal_hold   text,
        PRIMARY KEY (tenant, subject),
        CHECK ((keyset IS NULL) = (forgotten_at IS NOT NULL)),
        CHECK (legal_hold IS NULL OR keyset IS NOT NULL)
      );
      CREATE INDEX parapet_field_encryption_keys_wrapped_by_idx
        ON parapet_field_encryption_keys (tenant, wrapped_by);
      CREATE TABLE parapet_field_encryption_key_uses (
        tenant  text   NOT NULL,
        subject text   NOT NULL,
        key_id  bigint NOT NULL,
        uses    bigint NOT NULL,
        PRIMARY KEY (tenant, subject, key_id)
      );`,
  },
]

const TABLE = 'parapet_field_encryption_keys'
/** Drivers return an int8 as different types; a float8 is always a number, exact up to 2^53. */
const COLUMNS = `tenant, subject, keyset, wrapped_by::float8 AS "wrappedBy", version,
  rotated_at::float8 AS "rotatedAt", forgotten_at::float8 AS "forgottenAt", legal_hold AS "legalHold"`
const HAS_SUBJECT_KEYS = `subject <> '' AND keyset IS NOT NULL`

/** Creates the key store. Its tables are created or migrated at the first call. */
export function createPostgresKeyStore(sql: SqlClient): KeyStore {
  const query = createQuery(sql)
  return {
    async get(tenant, subjects) {
      const text = `SELECT ${COLUMNS} FROM ${TABLE} WHERE tenant = $1 AND subject = ANY ($2::text[])`
      return (await query<KeyRecord>(text, [tenant, subjects])).rows
    },
    async insert(record) {
      const text = `INSERT INTO ${TABLE} VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`
      return (await query(text, valuesOf(record))).rowCount === 1
    },
    async update(record) {
      const text = `UPDATE ${TABLE} SET keyset = $3, wrapped_by = $4, version = $5, rotated_at = $6,
        forgotten_at = $7, legal_hold = $8
        WHERE tenant = $1 AND subject = $2 AND version = $5 - 1 RETURNING version`
      return (await query(text, valuesOf(record))).rows.length === 1
    },
    async notWrappedBy(tenant, keyId, limit) {
      const text = `SELECT ${COLUMNS} FROM ${TABLE}
        WHERE tenant = $1 AND wrapped_by <> $2 AND ${HAS_SUBJECT_KEYS} ORDER BY subject LIMIT $3`
      return (await query<KeyRecord>(text, [tenant, keyId, limit])).rows
    },
    async countWrappedBy(tenant, keyId) {
      const text = `SELECT count(*)::float8 AS count FROM ${TABLE}
        WHERE tenant = $1 AND wrapped_by = $2 AND ${HAS_SUBJECT_KEYS}`
      return (await query<{ count: number }>(text, [tenant, keyId])).rows[0]!.count
    },
    async first() {
      const text = `SELECT ${COLUMNS} FROM ${TABLE} WHERE subject = '' ORDER BY tenant LIMIT 1`
      return (await query<KeyRecord>(text, [])).rows[0]
    },
    async addUses(tenant, subject, keyId, amount) {
      const text = `INSERT INTO parapet_field_encryption_key_uses AS old VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, subject, key_id) DO UPDATE SET uses = old.uses + excluded.uses
        RETURNING uses::float8 AS uses`
      return (await query<{ uses: number }>(text, [tenant, subject, keyId, amount])).rows[0]!.uses
    },
  }
}

/** Runs queries once the tables are migrated. */
function createQuery(sql: SqlClient) {
  let migrated: Promise<unknown> | undefined

  return async function query<R extends object>(text: string, values: readonly unknown[]) {
    migrated ??= migrate(sql, '@parapet/field-encryption', migrations)
    try {
      await migrated
    } catch (error) {
      // The next call tries again: the database may be up by then.
      migrated = undefined
      throw error
    }
    return sql.query<R>(text, values)
  }
}

function valuesOf(record: KeyRecord): unknown[] {
  const { tenant, subject, keyset, wrappedBy, version } = record
  const { rotatedAt, forgottenAt, legalHold } = record
  return [tenant, subject, keyset, wrappedBy, version, rotatedAt, forgottenAt, legalHold]
}
