/** The policy store in PostgreSQL. It keeps every published policy and the current grants. */
import { migrate, type Migration, type SqlClient, type SqlTransaction } from '@parapet/kit'
import { randomUUID } from 'node:crypto'
import { PARAPET_RBAC_DAMAGED_STORE } from '../errors.ts'
import {
  isSameState,
  type PolicyChange,
  type PolicyMark,
  type PolicyState,
  type PolicyStore,
  type TimedGrant,
} from './policy-store.ts'

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
  {
    id: '0003_change_id',
    sql: "ALTER TABLE rbac_revision ADD COLUMN change_id text NOT NULL DEFAULT ''",
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
      const { rows } = await sql.query<MarkRow>(
        'SELECT revision::text, change_id FROM rbac_revision',
      )
      if (isSameState(markOf(rows[0]), known)) return null
      // A snapshot, so that all rows belong to one revision.
      return sql.transaction(readState)
    },
    change: (change, known, now) =>
      sql.transaction(async (transaction) => {
        const mark = { revision: known.revision + 1, changeId: randomUUID() }
        const { rowCount } = await transaction.query(
          `UPDATE rbac_revision SET revision = $1, change_id = $2
            WHERE revision = $3 AND change_id = $4`,
          [mark.revision, mark.changeId, known.revision, known.changeId],
        )
        if (rowCount === 0) return null
        // The clock of one instance must not delete what others still use.
        await transaction.query('DELETE FROM rbac_grants WHERE ends_at <= least($1, now())', [
          isoOf(now),
        ])
        await writeChange(transaction, change, mark.revision)
        return mark
      }),
  }
}

interface MarkRow {
  readonly revision: string
  readonly change_id: string
}

/** @throws PARAPET_RBAC_DAMAGED_STORE */
function markOf(row: MarkRow | undefined): PolicyMark {
  if (row === undefined) throw new PARAPET_RBAC_DAMAGED_STORE('rbac_revision')
  return { revision: Number(row.revision), changeId: row.change_id }
}

interface GrantRow {
  readonly principal_id: string
  readonly role: string
  readonly from: number | null
  readonly until: number
}

async function readState(transaction: SqlTransaction): Promise<PolicyState> {
  await transaction.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
  const head = await transaction.query<MarkRow & { readonly document: string | null }>(
    `SELECT revision::text, change_id,
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
  const [row] = head.rows
  return { ...markOf(row), policy: row?.document ?? null, grants }
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
