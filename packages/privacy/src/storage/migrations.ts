/** The tables of this plugin. A migration that has been released never changes. */
import { migrate, type Migration, type SqlClient } from '@parapet/kit'

/** The migrations in the order in which they run. */
const migrations: readonly Migration[] = Object.freeze([
  {
    id: '0001_create_records',
    sql: `
      CREATE TABLE privacy_records (
        kind       text    NOT NULL,
        id         text    NOT NULL,
        version    integer NOT NULL DEFAULT 1,
        owner      text,
        topic      text,
        unique_key text,
        time       bigint  NOT NULL,
        body       jsonb   NOT NULL,
        PRIMARY KEY (kind, id)
      );
      CREATE UNIQUE INDEX privacy_records_unique ON privacy_records (kind, unique_key)
        WHERE unique_key IS NOT NULL;
      CREATE INDEX privacy_records_by_owner ON privacy_records (kind, owner, time, id);
      CREATE INDEX privacy_records_by_topic ON privacy_records (kind, topic, time, id);`,
  },
  {
    id: '0002_create_archive_parts',
    sql: `
      CREATE TABLE privacy_archive_parts (
        request_id text    NOT NULL,
        source     text    NOT NULL,
        part       integer NOT NULL,
        sealed     text    NOT NULL,
        PRIMARY KEY (request_id, source, part)
      );
      -- Ciphertext does not compress.
      ALTER TABLE privacy_archive_parts ALTER COLUMN sealed SET STORAGE EXTERNAL;`,
  },
  {
    id: '0003_create_ledger',
    sql: `
      CREATE TABLE privacy_ledger (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id       text   NOT NULL UNIQUE,
        entry    text   NOT NULL
      );`,
  },
])

/** Creates the tables. Every instance may call it at every start; with the option `sql` the plugin does. */
export async function migratePrivacy(sql: SqlClient): Promise<void> {
  await migrate(sql, '@parapet/privacy', migrations)
}
