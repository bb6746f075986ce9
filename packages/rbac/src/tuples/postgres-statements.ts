/**
 * The statements of relations. The steps of a policy are values, so the text is the same for every policy
 * and no name of a policy is part of it.
 */
import type { RelationPlan } from '../relations/relation-plan.ts'
import type { SubselectSource } from './relations.ts'

/** Differs after every committed change, also of a restored database. */
const REVISION_TOKEN = `(SELECT sum(revision)::text || '.' || sum(nonce)::text FROM rbac_relation_revisions)`

export const REVISION = `SELECT ${REVISION_TOKEN} AS revision`

/** Returns no answers if the revision is the known one, so that a check is one statement in every case. */
export const CHECK = `
  SELECT token, answers
    FROM rbac_check_relations($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

/** The message of a check whose walks together exceed their budget. */
export const PAGE_LIMIT =
  'PARAPET_RBAC_TOO_MANY_RELATIONS: the walks of one page exceed their budget'

/** The ids are NULL beyond the limit. */
export const LIST = `
  SELECT found.ids IS NOT NULL AS "isComplete",
         ARRAY(SELECT id FROM unnest(found.ids) AS id
                WHERE id > $11 COLLATE "C" ORDER BY id COLLATE "C" LIMIT $12) AS ids
    FROM rbac_related_ids($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS found (ids)`

const STEP_COLUMNS = [
  'type',
  'target',
  'relation',
  'subjectType',
  'subjectRelation',
  'next',
] as const
/** Of the values of {@link relatedValues}. */
const TYPES = [...STEP_COLUMNS.map(() => 'text[]'), 'text', 'text', 'text', 'int']

const COLUMNS = 'object_type, object_id, relation, subject_relation, subject_type, subject_id'
const TUPLES = `unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])`

/** Sorted, so that two writers of the same tuples lock them in one order. */
export const INSERT = `
  INSERT INTO rbac_relations (${COLUMNS})
  SELECT * FROM ${TUPLES} ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT DO NOTHING`

export const REMOVE = `
  DELETE FROM rbac_relations WHERE (${COLUMNS}) IN (SELECT * FROM ${TUPLES})`

export const READ = `
  SELECT ${COLUMNS} FROM rbac_relations
   WHERE object_type = $1 AND object_id = $2
   ORDER BY ${COLUMNS} LIMIT $3`

/** The values of {@link LIST} and of a sub-select: the steps, the principal, the relation and the limit. */
export function relatedValues(
  principalId: string,
  plan: RelationPlan,
  maxVisited: number,
): readonly unknown[] {
  return [...stepColumns([plan]), principalId, plan.type, plan.relation, maxVisited]
}

/** Returns the columns of the steps as arrays. Plans overlap, and no step may be followed twice. */
export function stepColumns(plans: readonly RelationPlan[]): readonly (readonly string[])[] {
  const all = plans.flatMap(({ steps, ends }) => [...steps, ...ends])
  const steps = [
    ...new Map(all.map((each) => [JSON.stringify(Object.values(each)), each])).values(),
  ]
  return STEP_COLUMNS.map((name) => steps.map((step) => step[name]))
}

/** Returns the ids of the objects to which a principal is related, as a sub-select. */
export function subselectOf(
  principalId: string,
  plan: RelationPlan,
  maxVisited: number,
): SubselectSource {
  // The collation of the column that the ids are compared with must decide.
  const text = `
    SELECT id COLLATE "default"
      FROM rbac_related_rows(${TYPES.map((type) => `$::${type}`).join(', ')}) AS id`
  return { strings: text.split('$'), values: relatedValues(principalId, plan, maxVisited) }
}
