/** The tables of this service. A migration that has been released never changes; add another. */
import type { Migration } from '@parapet/kit'
import { createRowRole, openTable, protectRows } from './row-security.ts'

/** The columns of every table whose rows have versions. */
const stored = `
        id         uuid        PRIMARY KEY,
        version    integer     NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),`

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
  {
    id: '0007_protect_rows_of_users',
    sql: `${createRowRole}
      ${openTable('content')}
      ${openTable('artists')}
      ${protectRows('users', 'id')}`,
  },
  {
    id: '0008_name_platforms_of_artists',
    sql: `ALTER TABLE artists ADD COLUMN platforms text[] NOT NULL DEFAULT '{}';`,
  },
  {
    id: '0009_create_venues',
    sql: `
      CREATE TABLE venues (${stored}
        name       text        NOT NULL,
        city       text        NOT NULL,
        country    text        NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
        capacity   integer     NOT NULL CHECK (capacity > 0)
      );
      ${openTable('venues')}`,
  },
  {
    id: '0010_create_bookings',
    sql: `
      CREATE TABLE bookings (${stored}
        -- The booking outlives the account: the artist and the venue keep their calendar.
        user_id     uuid       REFERENCES users (id) ON DELETE SET NULL,
        artist_id   uuid       NOT NULL REFERENCES artists (id),
        venue_id    uuid       NOT NULL REFERENCES venues (id),
        on_date     date       NOT NULL,
        hours       numeric(4,2) NOT NULL CHECK (hours > 0),
        price_minor bigint     NOT NULL CHECK (price_minor >= 0),
        currency    text       NOT NULL,
        status      text       NOT NULL DEFAULT 'requested'
                    CHECK (status IN ('requested', 'confirmed', 'cancelled')),
        note        text       CHECK (note LIKE 'pe1.%')
      );
      CREATE INDEX bookings_user_id_idx ON bookings (user_id);
      CREATE INDEX bookings_venue_id_idx ON bookings (venue_id);
      -- An artist plays once a day.
      CREATE UNIQUE INDEX bookings_artist_day_key ON bookings (artist_id, on_date)
        WHERE status = 'confirmed';
      CREATE INDEX bookings_artist_id_idx ON bookings (artist_id, on_date);
      ${protectRows('bookings', 'user_id', ['admin', 'booker'])}`,
  },
  {
    id: '0011_create_settings',
    sql: `
      CREATE TABLE settings (${stored}
        locale     text        NOT NULL DEFAULT 'en',
        time_zone  text        NOT NULL DEFAULT 'UTC',
        theme      text        NOT NULL DEFAULT 'system',
        newsletter boolean     NOT NULL DEFAULT false,
        FOREIGN KEY (id) REFERENCES users (id) ON DELETE CASCADE
      );
      ${protectRows('settings', 'id')}`,
  },
  {
    id: '0012_create_files',
    sql: `
      CREATE TABLE files (${stored}
        -- The file of a deleted user is removed by the next sweep.
        owner_id   uuid        REFERENCES users (id) ON DELETE SET NULL,
        folder     text        NOT NULL,
        name       text        NOT NULL CHECK (name LIKE 'pe1.%'),
        bytes      bigint      NOT NULL DEFAULT 0,
        state      text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'stored'))
      );
      CREATE INDEX files_owner_id_idx ON files (owner_id);
      ${protectRows('files', 'owner_id')}`,
  },
  {
    id: '0020_verify_addresses',
    sql: `
      ALTER TABLE users ADD COLUMN email_verified_at timestamptz;
      -- Who could log in until now still can.
      UPDATE users SET email_verified_at = created_at;`,
  },
]
