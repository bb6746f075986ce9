/** Stores API keys in PostgreSQL or PGlite. */
import type { Migration, SqlClient } from '@parapet/kit'
import type { ApiKeyRepository, StoredApiKey } from './repository.ts'

/** The migrations of the table. */
export const apiKeyMigrations: readonly Migration[] = [
  {
    id: '0001_create_api_keys',
    sql: `
      CREATE TABLE sessions_api_keys (
        id             text        PRIMARY KEY,
        owner_id       text        NOT NULL,
        name           text        NOT NULL,
        roles          text[]      NOT NULL,
        scopes         text[]      NOT NULL,
        created_at     timestamptz NOT NULL,
        expires_at     timestamptz NOT NULL,
        rotated_at     timestamptz,
        last_used_at   timestamptz,
        hash           text        NOT NULL,
        previous_hash  text,
        previous_until timestamptz,
        CHECK ((previous_hash IS NULL) = (previous_until IS NULL))
      );
      CREATE INDEX sessions_api_keys_by_owner ON sessions_api_keys (owner_id);
      CREATE INDEX sessions_api_keys_by_end ON sessions_api_keys (expires_at);`,
  },
  { id: '0002_seal_api_keys', sql: 'ALTER TABLE sessions_api_keys ADD COLUMN seal text' },
]

interface Row {
  readonly id: string
  readonly ownerId: string
  readonly name: string
  readonly roles: string[]
  readonly scopes: string[]
  readonly createdAt: number
  readonly expiresAt: number
  readonly rotatedAt: number | null
  readonly lastUsedAt: number | null
  readonly hash: string
  readonly previousHash: string | null
  readonly previousUntil: number | null
  readonly seal: string | null
}

const SELECT = `
  SELECT id, owner_id AS "ownerId", name, roles, scopes, hash, seal,
         previous_hash AS "previousHash",
         ${millisecondsOf('created_at')} AS "createdAt",
         ${millisecondsOf('expires_at')} AS "expiresAt",
         ${millisecondsOf('rotated_at')} AS "rotatedAt",
         ${millisecondsOf('last_used_at')} AS "lastUsedAt",
         ${millisecondsOf('previous_until')} AS "previousUntil"
    FROM sessions_api_keys`
const INSERT = `
  INSERT INTO sessions_api_keys (id, owner_id, name, roles, scopes, created_at, expires_at, hash, seal)
  SELECT $1, $2, $3, $4::text[], $5::text[], $6, $7, $8, $9
   WHERE (SELECT count(*) FROM sessions_api_keys WHERE owner_id = $2) < $10::int`
const REPLACE = `
  UPDATE sessions_api_keys
     SET hash = $4, seal = $5, rotated_at = $6, previous_hash = $7, previous_until = $8
   WHERE id = $1 AND hash = $2 AND seal IS NOT DISTINCT FROM $3`

/** Stores keys in the table of the migrations. */
export function createSqlApiKeys(sql: SqlClient): ApiKeyRepository {
  return {
    async add(record, maxKeys) {
      const { id, ownerId, name, roles, scopes, createdAt, expiresAt, hash, seal } = record
      const created = isoOf(createdAt)
      await sql.query('DELETE FROM sessions_api_keys WHERE expires_at <= $1', [created])
      const values = [id, ownerId, name, roles, scopes, created, isoOf(expiresAt), hash]
      return (await sql.query(INSERT, [...values, seal ?? null, maxKeys])).rowCount === 1
    },
    async find(id) {
      const { rows } = await sql.query<Row>(`${SELECT} WHERE id = $1`, [id])
      return rows[0] === undefined ? null : storedOf(rows[0])
    },
    async replace({ id, hash, seal }, next) {
      const { rotatedAt, previous } = next
      const former = previous === null ? [null, null] : [previous.hash, isoOf(previous.until)]
      const rotated = rotatedAt === null ? null : isoOf(rotatedAt)
      const values = [id, hash, seal ?? null, next.hash, next.seal ?? null, rotated, ...former]
      return (await sql.query(REPLACE, values)).rowCount === 1
    },
    async noteUse({ id }, at) {
      await sql.query(
        `UPDATE sessions_api_keys SET last_used_at = $2
          WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)`,
        [id, isoOf(at)],
      )
    },
    async remove(id) {
      const { rowCount } = await sql.query('DELETE FROM sessions_api_keys WHERE id = $1', [id])
      return rowCount === 1
    },
    async removeAll(ownerId) {
      await sql.query('DELETE FROM sessions_api_keys WHERE owner_id = $1', [ownerId])
    },
    async list(ownerId) {
      const order = 'WHERE owner_id = $1 ORDER BY created_at, id'
      return (await sql.query<Row>(`${SELECT} ${order}`, [ownerId])).rows.map(storedOf)
    },
  }
}

function storedOf({ lastUsedAt, previousHash, previousUntil, seal, ...row }: Row): StoredApiKey {
  const previous =
    previousHash === null || previousUntil === null
      ? null
      : { hash: previousHash, until: previousUntil }
  const record = { ...row, previous, ...(seal === null ? undefined : { seal }) }
  return { record, lastUsedAt }
}

function millisecondsOf(column: string): string {
  return `round(extract(epoch FROM ${column}) * 1000)::float8`
}

function isoOf(time: number): string {
  return new Date(time).toISOString()
}
