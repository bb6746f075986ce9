/** The tables and the function of relations in PostgreSQL. */
import type { Migration } from '@parapet/kit'
import { PAGE_LIMIT } from './postgres-statements.ts'
import { LEAST_BUDGET, PAGE_WALKS } from './relations.ts'

/**
 * The primary key serves checks: from an object to its usersets and to one subject. The index serves lists:
 * from a subject to its objects. Both cover every column, so neither reads the table.
 *
 * The revision is the sum of 64 rows, and each backend changes only its own row: writers do not wait for
 * each other, and cannot lock two rows in different orders. The random number makes a state that was
 * restored from a backup and then changed differ from the one that it replaced.
 */
const TABLES = `
  CREATE TABLE rbac_relations (
    object_type      text COLLATE "C" NOT NULL,
    object_id        text COLLATE "C" NOT NULL,
    relation         text COLLATE "C" NOT NULL,
    subject_relation text COLLATE "C" NOT NULL,
    subject_type     text COLLATE "C" NOT NULL,
    subject_id       text COLLATE "C" NOT NULL,
    CHECK (object_id <> '' AND (subject_id <> '' OR subject_relation = '*')),
    PRIMARY KEY (object_type, object_id, relation, subject_relation, subject_type, subject_id)
  );
  CREATE INDEX rbac_relations_by_subject ON rbac_relations
    (subject_type, subject_id, subject_relation, object_type, relation, object_id);
  CREATE TABLE rbac_relation_revisions (
    shard    int     PRIMARY KEY,
    revision bigint  NOT NULL DEFAULT 0,
    nonce    bigint  NOT NULL DEFAULT 0
  );
  INSERT INTO rbac_relation_revisions (shard) SELECT generate_series(0, 63);
  CREATE FUNCTION rbac_relations_changed() RETURNS trigger LANGUAGE plpgsql AS $body$
  BEGIN
    EXECUTE format(
      'UPDATE %I.rbac_relation_revisions
          SET revision = revision + 1, nonce = (random() * 4611686018427387904)::bigint
        WHERE shard = pg_backend_pid() %% 64', TG_TABLE_SCHEMA);
    RETURN NULL;
  END
  $body$;
  CREATE TRIGGER rbac_relations_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON rbac_relations
    FOR EACH STATEMENT EXECUTE FUNCTION rbac_relations_changed();
`

/**
 * A check is one call of this function. It is STABLE: it reads the revision and the tuples in the snapshot of
 * the calling statement. Its settings keep one plan for each connection: planning would take longer than the
 * walk, and a plan that was made for an empty table must not read a large one from end to end.
 *
 * `OFFSET 0` keeps the planner from joining the whole table: each step is a lookup in an index. The walk ends
 * at the first tuple that names the principal; beyond `max_visited` objects, the answer is unknown.
 */
const CHECK_SIGNATURE = `rbac_check_relations(
    known text, types text[], ids text[], relations text[],
    step_types text[], step_targets text[], step_relations text[],
    step_subject_types text[], step_subject_relations text[], step_nexts text[],
    principal text, max_visited int, OUT token text, OUT answers boolean[])
  LANGUAGE plpgsql STABLE
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
  AS $body$
`

const CHECK_WALK = `    SELECT sum(r.revision)::text || '.' || sum(r.nonce)::text INTO token FROM rbac_relation_revisions r;
    IF token = known THEN
      RETURN;
    END IF;
    answers := (
      SELECT array_agg((
        WITH RECURSIVE reach (type, id, relation) AS (
          SELECT question.type, question.id COLLATE "C", question.relation
          UNION
          SELECT s.subject_type, r.subject_id, s.next
            FROM reach
            JOIN unnest($5, $6, $7, $8, $9, $10)
              AS s (type, target, relation, subject_type, subject_relation, next)
              ON s.type = reach.type AND s.target = reach.relation AND s.next <> ''
           CROSS JOIN LATERAL (
             SELECT t.subject_id FROM rbac_relations t
              WHERE t.object_type = s.type AND t.object_id = reach.id AND t.relation = s.relation
                AND t.subject_relation = s.subject_relation AND t.subject_type = s.subject_type
             OFFSET 0) r
        ), bounded AS MATERIALIZED (SELECT * FROM reach LIMIT $12 + 1)
        SELECT CASE
          WHEN EXISTS (
            SELECT FROM bounded
              JOIN unnest($5, $6, $7, $8, $9, $10)
                AS s (type, target, relation, subject_type, subject_relation, next)
                ON s.type = bounded.type AND s.target = bounded.relation AND s.next = ''
             CROSS JOIN LATERAL (
               SELECT FROM rbac_relations t
                WHERE t.object_type = s.type AND t.object_id = bounded.id AND t.relation = s.relation
                  AND t.subject_relation = s.subject_relation AND t.subject_type = s.subject_type
                  AND t.subject_id = CASE s.subject_relation WHEN '*' THEN '' ELSE $11 END
               OFFSET 0) r) THEN TRUE
          WHEN (SELECT count(*) FROM bounded) <= $12 THEN FALSE
        END
      ) ORDER BY question.place)
      FROM unnest($2, $3, $4) WITH ORDINALITY AS question (type, id, relation, place));
`

const CHECK_FUNCTION = `
  CREATE FUNCTION ${CHECK_SIGNATURE}  BEGIN
${CHECK_WALK}  END
  $body$;
`

/**
 * A writer takes a row that no other transaction holds, so that two transactions whose backends share a row
 * cannot wait for each other, and makes one if there is none: without it, a revoked relation would stay in
 * caches. The trigger also fires in sessions whose `session_replication_role` is `replica`.
 */
const REVISION_TRIGGER = `
  CREATE OR REPLACE FUNCTION rbac_relations_changed() RETURNS trigger LANGUAGE plpgsql AS $body$
  DECLARE
    changed int;
  BEGIN
    EXECUTE format(
      'UPDATE %1$I.rbac_relation_revisions AS r
          SET revision = r.revision + 1, nonce = (random() * 4611686018427387904)::bigint
        WHERE shard = (SELECT free.shard FROM %1$I.rbac_relation_revisions AS free
                        ORDER BY (free.shard + 64 - pg_backend_pid() %% 64) %% 64
                        LIMIT 1 FOR UPDATE SKIP LOCKED)', TG_TABLE_SCHEMA);
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed = 0 THEN
      EXECUTE format(
        'INSERT INTO %I.rbac_relation_revisions AS r (shard, revision, nonce)
         VALUES (pg_backend_pid() %% 64, 1, (random() * 4611686018427387904)::bigint)
         ON CONFLICT (shard) DO UPDATE SET revision = r.revision + 1, nonce = EXCLUDED.nonce', TG_TABLE_SCHEMA);
    END IF;
    RETURN NULL;
  END
  $body$;
  ALTER TABLE rbac_relations ENABLE ALWAYS TRIGGER rbac_relations_changed;
`

/**
 * The ids of the objects of one relation to which a principal is related; NULL beyond `max_visited` objects. It
 * follows only steps that the relation needs, so the answer does not depend on other questions of a check.
 * `rbac_related_rows` is for filters: beyond the limit, the statement of the application fails.
 */
const RELATED_FUNCTIONS = `
  CREATE FUNCTION rbac_related_ids(
    step_types text[], step_targets text[], step_relations text[],
    step_subject_types text[], step_subject_relations text[], step_nexts text[],
    principal text, object_type text, object_relation text, max_visited int)
  RETURNS text[] LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
  AS $body$
  BEGIN
    RETURN (
      WITH RECURSIVE steps (type, target, relation, subject_type, subject_relation, next) AS (
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6)
      ), needed (type, target) AS (
        SELECT $8, $9
        UNION
        SELECT s.subject_type, s.next FROM needed
          JOIN steps s ON s.type = needed.type AND s.target = needed.target AND s.next <> ''
      ), reach (type, id, relation) AS (
        (SELECT 'user', $7 COLLATE "C", '' UNION ALL SELECT 'user', '' COLLATE "C", '*')
        UNION
        SELECT s.type, r.object_id, s.target
          FROM reach
          JOIN (SELECT steps.* FROM steps JOIN needed USING (type, target)) s
            ON s.subject_type = reach.type
           AND CASE s.next WHEN '' THEN s.subject_relation ELSE s.next END = reach.relation
         CROSS JOIN LATERAL (
           SELECT t.object_id FROM rbac_relations t
            WHERE t.subject_type = s.subject_type AND t.subject_id = reach.id
              AND t.subject_relation = s.subject_relation AND t.object_type = s.type
              AND t.relation = s.relation
           OFFSET 0) r
      ), bounded AS MATERIALIZED (SELECT * FROM reach LIMIT $10 + 1)
      SELECT CASE WHEN count(*) <= $10
        THEN coalesce(array_agg(b.id) FILTER (WHERE b.type = $8 AND b.relation = $9), '{}') END
        FROM bounded b);
  END
  $body$;
  CREATE FUNCTION rbac_related_rows(
    step_types text[], step_targets text[], step_relations text[],
    step_subject_types text[], step_subject_relations text[], step_nexts text[],
    principal text, object_type text, object_relation text, max_visited int)
  RETURNS SETOF text LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $body$
  DECLARE
    ids text[] := rbac_related_ids($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
  BEGIN
    IF ids IS NULL THEN
      RAISE EXCEPTION 'PARAPET_RBAC_TOO_MANY_RELATIONS: the relation "%#%" leads to more than % objects',
        $8, $9, $10
        USING ERRCODE = 'program_limit_exceeded', HINT = 'Raise "maxVisited" of createPostgresRelations.';
    END IF;
    RETURN QUERY SELECT unnest(ids);
  END
  $body$;
`

const UNKNOWN_ANSWERS = `IF array_position(answers, NULL) IS NULL THEN
      RETURN;
    END IF;
    FOR unknown IN
      SELECT q.type, q.relation,
             rbac_related_ids($5, $6, $7, $8, $9, $10, $11, q.type, q.relation, $12) AS found
        FROM (SELECT DISTINCT each.type, each.relation
                FROM unnest(types, relations, answers) AS each (type, relation, answer)
               WHERE each.answer IS NULL) q
    LOOP
      CONTINUE WHEN unknown.found IS NULL;
      answers := ARRAY(
        SELECT CASE WHEN q.answer IS NULL AND q.type = unknown.type AND q.relation = unknown.relation
          THEN q.id IN (SELECT unnest(unknown.found)) ELSE q.answer END
          FROM unnest(types, ids, relations, answers)
            WITH ORDINALITY AS q (type, id, relation, answer, place)
         ORDER BY q.place);
    END LOOP;
`

/**
 * Where the walk from an object is too long, the walk from the principal decides, in the same snapshot: a check
 * is unknown only where a list fails. The loop runs for such answers only, and costs others nothing.
 */
const CHECK_BOTH_WAYS = `
  CREATE OR REPLACE FUNCTION ${CHECK_SIGNATURE}  DECLARE
    unknown record;
  BEGIN
${CHECK_WALK}
    ${UNKNOWN_ANSWERS}  END
  $body$;
`

/**
 * The walks of a page share one budget: otherwise a list of 1000 resources could visit a thousand times as much
 * as a check, and PostgreSQL works on after the caller has given up. A walk that finds the principal costs what
 * it has visited until then.
 */
const CHECK_PAGE = `
  CREATE OR REPLACE FUNCTION ${CHECK_SIGNATURE}  DECLARE
    unknown record;
    budget bigint := greatest(${PAGE_WALKS}::bigint * max_visited, ${LEAST_BUDGET});
    answer boolean;
    visited int;
  BEGIN
    IF cardinality(ids) <= ${PAGE_WALKS} THEN
${CHECK_WALK}    ELSE
      SELECT sum(r.revision)::text || '.' || sum(r.nonce)::text INTO token FROM rbac_relation_revisions r;
      IF token = known THEN
        RETURN;
      END IF;
      answers := '{}';
      FOR place IN 1 .. cardinality(ids) LOOP
        WITH RECURSIVE reach (type, id, relation) AS (
          SELECT types[place], ids[place] COLLATE "C", relations[place]
          UNION
          SELECT s.subject_type, r.subject_id, s.next
            FROM reach
            JOIN unnest($5, $6, $7, $8, $9, $10)
              AS s (type, target, relation, subject_type, subject_relation, next)
              ON s.type = reach.type AND s.target = reach.relation AND s.next <> ''
           CROSS JOIN LATERAL (
             SELECT t.subject_id FROM rbac_relations t
              WHERE t.object_type = s.type AND t.object_id = reach.id AND t.relation = s.relation
                AND t.subject_relation = s.subject_relation AND t.subject_type = s.subject_type
             OFFSET 0) r
        ), bounded AS MATERIALIZED (
          SELECT row_number() OVER () AS number, reach.* FROM reach LIMIT least($12, budget) + 1
        ), found AS MATERIALIZED (
          SELECT bounded.number FROM bounded
            JOIN unnest($5, $6, $7, $8, $9, $10)
              AS s (type, target, relation, subject_type, subject_relation, next)
              ON s.type = bounded.type AND s.target = bounded.relation AND s.next = ''
           CROSS JOIN LATERAL (
             SELECT FROM rbac_relations t
              WHERE t.object_type = s.type AND t.object_id = bounded.id AND t.relation = s.relation
                AND t.subject_relation = s.subject_relation AND t.subject_type = s.subject_type
                AND t.subject_id = CASE s.subject_relation WHEN '*' THEN '' ELSE $11 END
             OFFSET 0) r
           LIMIT 1)
        SELECT CASE WHEN f.number IS NOT NULL THEN TRUE WHEN f.visited <= $12 THEN FALSE END, f.visited
          INTO answer, visited
          FROM (SELECT found.number, coalesce(found.number, (SELECT count(*) FROM bounded)) AS visited
                  FROM (SELECT) AS one LEFT JOIN found ON TRUE) f;
        budget := budget - visited;
        IF budget < 0 THEN
          RAISE EXCEPTION '${PAGE_LIMIT}' USING ERRCODE = 'program_limit_exceeded';
        END IF;
        answers := answers || answer;
      END LOOP;
    END IF;
    ${UNKNOWN_ANSWERS}  END
  $body$;
`

export const relationMigrations: readonly Migration[] = [
  { id: '0001_create_relations', sql: TABLES },
  { id: '0002_check_relations', sql: `${CHECK_FUNCTION}${REVISION_TRIGGER}` },
  { id: '0003_check_both_ways', sql: `${RELATED_FUNCTIONS}${CHECK_BOTH_WAYS}` },
  { id: '0004_check_pages', sql: CHECK_PAGE },
]
