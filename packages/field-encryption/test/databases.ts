import { pgcrypto } from '@electric-sql/pglite/contrib/pgcrypto'
import { createSqlClient, type SqlClient } from '@parapet/kit'
import { openPglite, usePostgres } from '@parapet/testing'
import { Pool } from 'pg'
import type { Test } from 'tap'

/** Connects as another user; `null` on PGlite, which has one user. */
export type MakePool = ((user: string) => Pool) | null

/** Runs a check on a PostgreSQL server, and on PGlite in this process. */
export async function withDatabases(
  t: Test,
  check: (t: Test, sql: SqlClient, makePool: MakePool) => Promise<void>,
): Promise<void> {
  await t.test('PostgreSQL', async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const makePool = (user: string) => {
      const url = new URL(postgres.url)
      url.username = user
      const pool = new Pool({ connectionString: url.href, max: 1 })
      t.after(() => pool.end())
      return pool
    }
    await check(t, createSqlClient(postgres.pool), makePool)
  })
  await t.test('PGlite', async (t) => {
    const db = await openPglite({ extensions: { pgcrypto } })
    t.after(() => db.close())
    await check(t, createSqlClient(db), null)
  })
}
