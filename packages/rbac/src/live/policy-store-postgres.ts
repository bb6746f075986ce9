/** The policy store in PostgreSQL. It keeps every published policy and the current grants. */
import { migrate, type Migration, type SqlClient, type SqlTransaction } from '@parapet/kit'
import type { PolicyChange, PolicyState, PolicyStore, TimedGrant } from './policy-store.ts'

const migrations: readonly Migration[] = [
  {
    id: '0001_create_policies',
    sql: `
      CREATE TABLE rbac_policies (
        revision     bigint      PRIMARY KEY,
        digest       text        NOT NULL,
        document     text        NOT NULL,
        published_at timestamptz NOT NULL DEFAULT now()
      );
      CREATE TABLE rbac_grants (
        principal_id text        NOT NULL,
        role         text        NOT NULL,
        ends_at      timestamptz NOT NULL,
        PRIMARY KEY (principal_id, role)
      );
      CREATE TABLE rbac_revision (
        one_row  boolean PRIMARY KEY DEFAULT true CHECK (one_row),
        revision bigint  NOT NULL
      );
      INSERT INTO rbac_revision (revision) VALUES (0);
    `,
  },
  {
    id: '0002_start_of_grants',
    sql: 'ALTER TABLE rbac_grants ADD COLUMN starts_at timestamptz',
  },
]

/**
 * Creates the store and migrates its tables.
 *
 * @param sql kit's SQL port over the application's own `pg` pool or PGlite.
 * @throws PARAPET_KIT_MIGRATION_FAILED if the tables cannot be created.
 */
export async function createPostgresPolicyStore(sql: SqlClient): Promise<PolicyStore> {
  await migrate(sql, '@parapet/rbac', migrations)
  return {
    async load(known) {
      const { rows } = await sql.query<{ revision: string }>(
        'SELECT revision::text FROM rbac_revision',
      )
      if (Number(rows[0]!.revision) === known) return null
      // A snapshot, so that all rows belong to one revision.
      return sql.transaction(readState)
    },
    change: (change, known, now) =>
      sql.transaction(async (transaction) => {
        const { rowCount } = await transaction.query(
          'UPDATE rbac_revision SET revision = revision + 1 WHERE revision = $1',
          [known],
        )
        if (rowCount === 0) return null
        await transaction.query('DELETE FROM rbac_grants WHERE ends_at <= $1', [isoOf(now)])
        await writeChange(transaction, change, known + 1)
        return known + 1
      }),
  }
}

interface GrantRow {
  readonly principal_id: string
  readonly role: string
  readonly from: number | null
  readonly until: number
}

async function readState(transaction: SqlTransaction): Promise<PolicyState> {
  await transaction.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
  const head = await transaction.query<{ revision: string; document: string | null }>(
    `SELECT revision::text,
            (SELECT document FROM rbac_policies ORDER BY revision DESC LIMIT 1) AS document
       FROM rbac_revision`,
  )
  const { rows } = await transaction.query<GrantRow>(
    `SELECT principal_id, role,
            (extract(epoch FROM starts_at) * 1000)::float8 AS "from",
            (extract(epoch FROM ends_at) * 1000)::float8 AS until
       FROM rbac_grants`,
  )
  const grants = rows.map(({ principal_id: principalId, role, from, until }): TimedGrant => ({
    principalId,
    role,
    ...(from === null ? undefined : { from }),
    until,
  }))
  const { revision, document } = head.rows[0]!
  return { revision: Number(revision), policy: document, grants }
}

async function writeChange(
  transaction: SqlTransaction,
  change: PolicyChange,
  revision: number,
): Promise<void> {
  switch (change.kind) {
    case 'publish':
      await transaction.query(
        'INSERT INTO rbac_policies (revision, digest, document) VALUES ($1, $2, $3)',
        [revision, change.digest, change.policy],
      )
      return
    case 'grant':
      await transaction.query(
        `INSERT INTO rbac_grants (principal_id, role, starts_at, ends_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (principal_id, role)
         DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at`,
        [
          change.grant.principalId,
          change.grant.role,
          change.grant.from === undefined ? null : isoOf(change.grant.from),
          isoOf(change.grant.until),
        ],
      )
      return
    case 'revoke':
      await transaction.query('DELETE FROM rbac_grants WHERE principal_id = $1 AND role = $2', [
        change.principalId,
        change.role,
      ])
  }
}

function isoOf(time: number): string {
  return new Date(time).toISOString()
}
