/** The tables of the log in PostgreSQL, and the privileges of its three roles. */
import type { Migration } from '@parapet/kit'

/** The migrations, for `migrate` of kit. */
export const migrations: readonly Migration[] = [
  {
    id: '0001_create_log',
    sql: `
      CREATE TABLE audit_log_state (
        one       boolean PRIMARY KEY DEFAULT true CHECK (one),
        origin    text    NOT NULL,
        size      bigint  NOT NULL,
        root      text    NOT NULL,
        edge      text    NOT NULL,
        min_index bigint  NOT NULL DEFAULT 0,
        note      text    NOT NULL
      );
      CREATE TABLE audit_log_inbox (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        writer   text   NOT NULL,
        seq      bigint,
        leaf     text   NOT NULL,
        beside   text,
        UNIQUE (writer, seq)
      );
      CREATE TABLE audit_log_writers (
        writer   text   PRIMARY KEY,
        next_seq bigint NOT NULL
      );
      CREATE TABLE audit_log_events (
        month       date        NOT NULL,
        index       bigint      NOT NULL,
        time        timestamptz NOT NULL,
        id          text        NOT NULL,
        action      text        NOT NULL,
        result      text        NOT NULL,
        principal   text,
        session     text,
        tenant      text,
        ip          text,
        resource    text,
        resource_id text,
        request_id  text,
        route       text,
        error_code  text,
        writer      text        NOT NULL,
        seq         bigint,
        leaf        text        NOT NULL,
        PRIMARY KEY (index, month)
      ) PARTITION BY RANGE (month);
      CREATE TABLE audit_log_events_other PARTITION OF audit_log_events DEFAULT;
      CREATE INDEX ON audit_log_events (principal, index);
      CREATE INDEX ON audit_log_events (action, index);
      CREATE INDEX ON audit_log_events (resource_id, index);
      CREATE INDEX ON audit_log_events USING hash (id);
      CREATE INDEX ON audit_log_events USING brin (time);
      CREATE TABLE audit_log_tiles (
        level  integer NOT NULL,
        index  bigint  NOT NULL,
        hashes bytea   NOT NULL,
        PRIMARY KEY (level, index)
      );
      ALTER TABLE audit_log_tiles ALTER hashes SET STORAGE EXTERNAL;
      CREATE TABLE audit_log_checkpoints (
        size bigint      PRIMARY KEY,
        note text        NOT NULL,
        at   timestamptz NOT NULL DEFAULT now()
      );
      CREATE TABLE audit_log_subject_keys (
        id         text   PRIMARY KEY,
        subject    text   NOT NULL,
        sealed     text   NOT NULL,
        created_at bigint NOT NULL
      );
      CREATE INDEX ON audit_log_subject_keys (subject);
      CREATE TABLE audit_log_values (
        record  text NOT NULL,
        path    text NOT NULL,
        subject text NOT NULL,
        key_id  text NOT NULL,
        sealed  text NOT NULL,
        PRIMARY KEY (record, path)
      );
      CREATE INDEX ON audit_log_values (subject);
      CREATE TABLE audit_log_erasures (
        subject   text   PRIMARY KEY,
        erased_at bigint NOT NULL
      );
      CREATE TABLE audit_log_blobs (
        sha256 text PRIMARY KEY,
        blob   text NOT NULL
      );
      CREATE TABLE audit_log_cursors (
        name        text        PRIMARY KEY,
        position    bigint      NOT NULL DEFAULT 0,
        holder      text,
        lease_until timestamptz NOT NULL DEFAULT 'epoch'
      );`,
  },
  {
    // The next number of a writer is read from its last entry, which the tree covers.
    id: '0002_authenticate_writers',
    sql: `
      ALTER TABLE audit_log_inbox ADD COLUMN mac text;
      ALTER TABLE audit_log_cursors ADD COLUMN mac text;
      CREATE INDEX ON audit_log_events (writer, index);
      DROP TABLE audit_log_writers;`,
  },
  {
    id: '0003_keep_cosignature',
    sql: `
      CREATE TABLE audit_log_cosigned (
        one  boolean PRIMARY KEY DEFAULT true CHECK (one),
        note text    NOT NULL
      );`,
  },
  {
    id: '0004_check_secrets',
    sql: `
      CREATE TABLE audit_log_secret_check (
        one  boolean PRIMARY KEY DEFAULT true CHECK (one),
        text text    NOT NULL
      );`,
  },
]

/** The three roles of {@link grantsFor}. */
export interface AuditRoles {
  /** Inserts into the inbox, and reads which of its numbers are in the log: for instances that only record. */
  readonly writer: string
  /** Reads the log: for auditors and the verifier. */
  readonly reader: string
  /** Moves records from the inbox into the log. */
  readonly sequencer: string
}

/** The tables of the log. No role may update an entry; only pruning deletes entries. */
const LOG_TABLES =
  'audit_log_state, audit_log_events, audit_log_tiles, audit_log_checkpoints, ' +
  'audit_log_subject_keys, audit_log_values, audit_log_erasures, audit_log_blobs, audit_log_cursors, ' +
  'audit_log_cosigned, audit_log_secret_check'

/**
 * The GRANT statements for three existing roles. The owner of the tables runs them after the first
 * start.
 */
export function grantsFor({ writer, reader, sequencer }: AuditRoles): string {
  const [w, r, s] = [writer, reader, sequencer].map(quote)
  return [
    `GRANT INSERT ON audit_log_inbox TO ${w};`,
    // A writer keeps a record in its spool until the log has its number.
    `GRANT SELECT (writer, seq, index) ON audit_log_events TO ${w};`,
    `GRANT SELECT ON ${LOG_TABLES} TO ${r}, ${s};`,
    `GRANT SELECT, INSERT, DELETE ON audit_log_inbox TO ${s};`,
    `GRANT INSERT ON ${LOG_TABLES} TO ${s};`,
    `GRANT UPDATE ON audit_log_state, audit_log_tiles, audit_log_erasures, audit_log_cursors, audit_log_cosigned, audit_log_secret_check TO ${s};`,
    `GRANT DELETE ON audit_log_events, audit_log_subject_keys, audit_log_values TO ${s};`,
  ].join('\n')
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
