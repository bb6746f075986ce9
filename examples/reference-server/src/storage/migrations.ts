/** The tables of this service. A migration that has been released never changes; add another. */
import type { Migration } from '@parapet/kit'

/** The migrations in the order in which they run. */
export const migrations: readonly Migration[] = [
  {
    id: '0001_create_users',
    sql: `
      CREATE TABLE users (
        id           uuid        PRIMARY KEY,
        version      integer     NOT NULL DEFAULT 1,
        created_at   timestamptz NOT NULL DEFAULT now(),
        updated_at   timestamptz NOT NULL DEFAULT now(),
        email        text        NOT NULL,
        display_name text        NOT NULL
      );
      -- Under the C collation no locale decides which letters are one.
      CREATE UNIQUE INDEX users_email_key ON users (lower(email COLLATE "C"));`,
  },
  {
    id: '0002_create_content',
    sql: `
      CREATE TABLE content (
        id         uuid        PRIMARY KEY,
        version    integer     NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        author_id  uuid        NOT NULL REFERENCES users (id),
        title      text        NOT NULL,
        body       text        NOT NULL,
        status     text        NOT NULL DEFAULT 'draft'
                   CHECK (status IN ('draft', 'published', 'archived'))
      );
      CREATE INDEX content_author_id_idx ON content (author_id);`,
  },
  {
    id: '0003_create_artists',
    sql: `
      CREATE TABLE artists (
        id                uuid        PRIMARY KEY,
        version           integer     NOT NULL DEFAULT 1,
        created_at        timestamptz NOT NULL DEFAULT now(),
        updated_at        timestamptz NOT NULL DEFAULT now(),
        name              text        NOT NULL,
        genres            text[]      NOT NULL,
        hourly_rate_minor integer     NOT NULL CHECK (hourly_rate_minor >= 0),
        currency          text        NOT NULL,
        bio               text        NOT NULL DEFAULT '',
        available         boolean     NOT NULL DEFAULT true
      );`,
  },
  {
    id: '0004_let_users_log_in',
    sql: `
      ALTER TABLE users
        ADD COLUMN password_hash text,
        ADD COLUMN roles text[] NOT NULL DEFAULT '{}';`,
  },
  {
    id: '0005_seal_phones_of_artists',
    sql: `
      ALTER TABLE artists ADD COLUMN phone text
        CHECK (phone LIKE 'pe1.%' AND length(phone) BETWEEN 48 AND 200);`,
  },
  {
    id: '0006_give_users_roles',
    sql: `
      ALTER TABLE users ALTER COLUMN roles SET DEFAULT '{viewer}';
      UPDATE users SET roles = '{viewer}' WHERE roles = '{}';
      ALTER TABLE users ADD CHECK (cardinality(roles) > 0);`,
  },
]
