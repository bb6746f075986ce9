/** The tables of this package. A migration that has been released never changes; add another. */
import { migrate, type Migration, type SqlClient } from '@parapet/kit'
import { apiKeyMigrations } from '../api-keys/repository-postgres.ts'
import { identityMigration } from '../identities/links-postgres.ts'

const migrations: readonly Migration[] = [
  ...apiKeyMigrations,
  {
    id: '0003_create_accounts',
    sql: 'CREATE TABLE sessions_accounts (user_id text PRIMARY KEY, state text NOT NULL)',
  },
  identityMigration,
]

/** Runs the migrations. Every instance can call it at every start. */
export async function migrateSessions(sql: SqlClient): Promise<void> {
  await migrate(sql, '@parapet/sessions', migrations)
}
