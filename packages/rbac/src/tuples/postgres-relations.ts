/** Relations in PostgreSQL: one table, one statement for each answer. */
import { migrate, option, type SqlClient, type SqlQueryable } from '@parapet/kit'
import { PARAPET_RBAC_TOO_MANY_RELATIONS } from '../errors.ts'
import { AnswerCache } from './answer-cache.ts'
import { relationMigrations } from './postgres-migrations.ts'
import {
  CHECK,
  INSERT,
  LIST,
  PAGE_LIMIT,
  READ,
  relatedValues,
  REMOVE,
  REVISION,
  stepColumns,
  subselectOf,
} from './postgres-statements.ts'
import {
  pageTooLong,
  readLimits,
  type RelationChanges,
  type RelationLimits,
  type RelationQuestion,
  type RelationStore,
  type RelationTuple,
} from './relations.ts'
import { rowOf, tupleOf, type TupleRow } from './tuples.ts'

/** See {@link createPostgresRelations}. */
export interface PostgresRelationsOptions extends RelationLimits {
  /**
   * The number of answers that are kept, 0 to 1 000 000. An answer is used only while the revision of all
   * tuples is the one for which it was given, which every check reads. @default 10_000
   */
  readonly maxCached?: number
}

/**
 * Creates the store and migrates its tables. Lists and filters are written for PostgreSQL; use the
 * database of the resources, so that a filter can read both.
 *
 * @param sql kit's SQL port over the application's own `pg` pool or PGlite. It must read the primary: a
 *   replica lags, and would answer that a revoked relation still exists.
 * @throws PARAPET_KIT_MIGRATION_FAILED if the tables cannot be created.
 * @throws PARAPET_RBAC_INVALID_OPTION
 */
export async function createPostgresRelations(
  sql: SqlClient,
  options: PostgresRelationsOptions = {},
): Promise<RelationStore> {
  const { maxVisited, maxCached } = readLimits('createPostgresRelations', options, {
    maxCached: option.integer({ min: 0, max: 1_000_000, default: 10_000 }),
  })
  await migrate(sql, '@parapet/rbac/relations', relationMigrations)
  const cache = new AnswerCache(maxCached)
  return {
    check: (principalId, questions) => check(sql, cache, maxVisited, principalId, questions),
    async list(principalId, plan, { after, limit }) {
      const { rows } = await sql.query<{ readonly isComplete: boolean; readonly ids: string[] }>(
        LIST,
        [
          ...relatedValues(storable(principalId), plan, maxVisited),
          // No id has a NUL: those after `a\0b` are those after `a`.
          (after ?? '').split('\0', 1)[0],
          limit + 1,
        ],
      )
      const { isComplete, ids } = rows[0]!
      if (!isComplete) throw new PARAPET_RBAC_TOO_MANY_RELATIONS(plan.key, `${maxVisited} objects`)
      return { ids: ids.slice(0, limit), hasMore: ids.length > limit }
    },
    subselect: (principalId, plan) => subselectOf(storable(principalId), plan, maxVisited),
    write: (changes, transaction) =>
      transaction === undefined
        ? sql.transaction((own) => write(own, changes))
        : write(transaction, changes),
    async read({ type, id }, { limit = 1000 } = {}) {
      const { rows } = await sql.query<StoredRow>(READ, [type, id, limit])
      return rows.map(readRow)
    },
    async revision() {
      const { rows } = await sql.query<{ readonly revision: string }>(REVISION)
      return rows[0]!.revision
    },
  }
}

/** One statement, whether the answers are known or not. */
async function check(
  sql: SqlQueryable,
  cache: AnswerCache,
  maxVisited: number,
  principalId: string,
  questions: readonly RelationQuestion[],
): Promise<readonly (boolean | null)[]> {
  const known = cache.get(principalId, questions)
  const plans = [...new Map(questions.map(({ plan }) => [plan.key, plan])).values()]
  const values = [
    known?.revision ?? null,
    questions.map(({ plan }) => plan.type),
    questions.map(({ objectId }) => storable(objectId)),
    questions.map(({ plan }) => plan.relation),
    ...stepColumns(plans),
    storable(principalId),
    maxVisited,
  ]
  const { rows } = await sql
    .query<{
      readonly token: string | null
      readonly answers: readonly (boolean | null)[] | null
    }>(CHECK, values)
    .catch((error: unknown) => {
      if (!(error instanceof Error && error.message.includes(PAGE_LIMIT))) throw error
      throw pageTooLong(questions, maxVisited)
    })
  const { token, answers } = rows[0]!
  if (answers === null) return known?.answers ?? []
  // Without a revision nobody could tell that an answer is out of date.
  if (token !== null) cache.set(token, principalId, questions, answers)
  return answers
}

async function write(sql: SqlQueryable, { add = [], remove = [] }: RelationChanges): Promise<void> {
  if (remove.length > 0) await sql.query(REMOVE, tupleColumns(remove))
  if (add.length > 0) await sql.query(INSERT, tupleColumns(add))
}

function tupleColumns(tuples: readonly RelationTuple[]): readonly (readonly string[])[] {
  const rows = tuples.map(rowOf)
  return [
    rows.map(({ objectType }) => objectType),
    rows.map(({ objectId }) => objectId),
    rows.map(({ relation }) => relation),
    rows.map(({ subjectRelation }) => subjectRelation),
    rows.map(({ subjectType }) => subjectType),
    rows.map(({ subjectId }) => subjectId),
  ]
}

interface StoredRow {
  readonly object_type: string
  readonly object_id: string
  readonly relation: string
  readonly subject_relation: string
  readonly subject_type: string
  readonly subject_id: string
}

function readRow(row: StoredRow): RelationTuple {
  return tupleOf({
    objectType: row.object_type,
    objectId: row.object_id,
    relation: row.relation,
    subjectRelation: row.subject_relation,
    subjectType: row.subject_type,
    subjectId: row.subject_id,
  } satisfies TupleRow)
}

/** No tuple has an empty id, and no tuple has text that PostgreSQL cannot store. */
function storable(id: string): string {
  return id.isWellFormed() && !id.includes('\0') ? id : ''
}
