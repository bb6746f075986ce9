/**
 * Stores links in PostgreSQL or PGlite. Each row is sealed, because write access to the table would
 * otherwise be enough to log in as any user.
 */
import type { Migration, SqlClient, SqlQueryable } from '@parapet/kit'
import type { RecordSeal } from '../secrets/record-seal.ts'
import {
  idOfIdentity,
  isSameIdentity,
  type Identity,
  type IdentityLinks,
  type LinkedIdentity,
} from './identity-links.ts'

/** The migration of the table. */
export const identityMigration: Migration = {
  id: '0004_create_identities',
  sql: `
    CREATE TABLE sessions_identities (
      provider  text   NOT NULL,
      subject   text   NOT NULL,
      user_id   text   NOT NULL,
      linked_at bigint NOT NULL,
      seal      text   NOT NULL,
      PRIMARY KEY (provider, subject)
    );
    CREATE INDEX sessions_identities_by_user ON sessions_identities (user_id);`,
}

interface Row extends LinkedIdentity {
  readonly userId: string
  readonly seal: string
}

const SELECT = `
  SELECT provider, subject, seal, user_id AS "userId", linked_at::float8 AS "linkedAt"
  FROM sessions_identities`
const INSERT = `
  INSERT INTO sessions_identities (provider, subject, user_id, linked_at, seal)
  VALUES ($1, $2, $3, $4, $5) ON CONFLICT (provider, subject) DO NOTHING`
const REPLACE = `
  UPDATE sessions_identities SET user_id = $3, linked_at = $4, seal = $5
  WHERE provider = $1 AND subject = $2 AND seal = $6`
const REMOVE = 'DELETE FROM sessions_identities WHERE provider = $1 AND subject = $2'

/** Until the end of the transaction. */
const LOCK_USER = "SELECT pg_advisory_xact_lock(hashtextextended('sessions_identities ' || $1, 0))"

async function load(client: SqlQueryable, { provider, subject }: Identity): Promise<Row | null> {
  const text = `${SELECT} WHERE provider = $1 AND subject = $2`
  const { rows } = await client.query<Row>(text, [provider, subject])
  return rows[0] ?? null
}

/** Creates the links. */
export function createSqlLinks(sql: SqlClient, seal: RecordSeal): IdentityLinks {
  function valuesOf(userId: string, identity: LinkedIdentity): (string | number)[] {
    const { provider, subject, linkedAt } = identity
    const tag = seal.tagOf('identity', idOfIdentity(identity), bodyOf(userId, identity))
    return [provider, subject, userId, linkedAt, tag]
  }

  function accept(row: Row): 'current' | 'former' | null {
    return seal.accept('identity', idOfIdentity(row), bodyOf(row.userId, row), row.seal)
  }

  /** @returns `false`: another user has the identity. A forged row is nobody's. */
  async function insert(
    client: SqlQueryable,
    values: readonly (string | number)[],
    identity: Identity,
  ): Promise<boolean> {
    if ((await client.query(INSERT, values)).rowCount === 1) return true
    const row = await load(client, identity)
    if (row === null) return (await client.query(INSERT, values)).rowCount === 1
    if (accept(row) !== null) return false
    return (await client.query(REPLACE, [...values, row.seal])).rowCount === 1
  }

  async function listOf(client: SqlQueryable, userId: string, lock = ''): Promise<Row[]> {
    const text = `${SELECT} WHERE user_id = $1 ORDER BY linked_at, provider, subject ${lock}`
    const { rows } = await client.query<Row>(text, [userId])
    return rows.filter((row) => accept(row) !== null)
  }

  return {
    async find(identity) {
      const row = await load(sql, identity)
      const state = row === null ? null : accept(row)
      if (row === null || state === null) return null
      // Under the newest secret, so that links that are used outlive the older ones.
      if (state === 'former') await sql.query(REPLACE, [...valuesOf(row.userId, row), row.seal])
      return row.userId
    },
    async list(userId) {
      const rows = await listOf(sql, userId)
      return rows.map(({ provider, subject, linkedAt }) => ({ provider, subject, linkedAt }))
    },
    add: (userId, identity, maxLinks) =>
      sql.transaction(async (client) => {
        // A row that another request is about to insert cannot be locked, so the user is.
        await client.query(LOCK_USER, [userId])
        const rows = await listOf(client, userId)
        if (rows.some((row) => isSameIdentity(row, identity))) return 'present'
        if (rows.length >= maxLinks) return 'full'
        return (await insert(client, valuesOf(userId, identity), identity)) ? 'added' : 'taken'
      }),
    remove: (userId, identity, mayRemove) =>
      sql.transaction(async (client) => {
        const rows = await listOf(client, userId, 'FOR UPDATE')
        if (!rows.some((row) => isSameIdentity(row, identity))) return 'missing'
        if (!mayRemove(rows.filter((row) => !isSameIdentity(row, identity)))) return 'kept'
        await client.query(REMOVE, [identity.provider, identity.subject])
        return 'removed'
      }),
  }
}

function bodyOf(userId: string, { linkedAt }: LinkedIdentity): string {
  return JSON.stringify([userId, linkedAt])
}
