/** The tables of the incident response. */
import type { Migration } from '@parapet/kit'

export const migrations: readonly Migration[] = [
  {
    id: '0001_create_incidents',
    sql: `
      CREATE TABLE incident_response_incidents (
        id        uuid    PRIMARY KEY,
        version   integer NOT NULL,
        type      text    NOT NULL,
        severity  text    NOT NULL,
        phase     text    NOT NULL,
        assignee  text,
        opened_at bigint  NOT NULL,
        closed_at bigint,
        document  jsonb   NOT NULL
      );
      CREATE INDEX incident_response_incidents_opened_idx ON incident_response_incidents (opened_at);
      CREATE INDEX incident_response_incidents_closed_idx ON incident_response_incidents (closed_at);
      -- One open incident for a fingerprint.
      CREATE TABLE incident_response_fingerprints (
        fingerprint text PRIMARY KEY,
        incident_id uuid NOT NULL REFERENCES incident_response_incidents (id) ON DELETE CASCADE
      );
      CREATE INDEX incident_response_fingerprints_incident_idx
        ON incident_response_fingerprints (incident_id);
      CREATE TABLE incident_response_runs (
        id          uuid    PRIMARY KEY,
        incident_id uuid    NOT NULL REFERENCES incident_response_incidents (id) ON DELETE CASCADE,
        version     integer NOT NULL,
        document    jsonb   NOT NULL,
        program     jsonb   NOT NULL
      );
      CREATE INDEX incident_response_runs_incident_idx ON incident_response_runs (incident_id);
      CREATE TABLE incident_response_entries (
        seq         bigserial PRIMARY KEY,
        incident_id uuid      NOT NULL REFERENCES incident_response_incidents (id) ON DELETE CASCADE,
        at          bigint    NOT NULL,
        kind        text      NOT NULL,
        author      text,
        text        text      NOT NULL,
        details     jsonb     NOT NULL
      );
      CREATE INDEX incident_response_entries_incident_idx
        ON incident_response_entries (incident_id, seq);
      CREATE TABLE incident_response_tasks (
        id          text    PRIMARY KEY,
        incident_id uuid    NOT NULL REFERENCES incident_response_incidents (id) ON DELETE CASCADE,
        kind        text    NOT NULL,
        due_at      bigint  NOT NULL,
        state       text    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'dead')),
        attempts    integer NOT NULL DEFAULT 0,
        dispatches  integer NOT NULL DEFAULT 0,
        error       text,
        data        jsonb   NOT NULL
      );
      CREATE INDEX incident_response_tasks_incident_idx ON incident_response_tasks (incident_id);
      CREATE INDEX incident_response_tasks_due_idx ON incident_response_tasks (due_at)
        WHERE state <> 'done';
    `,
  },
  {
    id: '0002_create_message_counts',
    sql: `
      -- How many messages of one kind a receiver has got in the latest minute.
      CREATE TABLE incident_response_message_counts (
        key     text    PRIMARY KEY,
        minute  bigint  NOT NULL,
        count   integer NOT NULL
      );
    `,
  },
]
