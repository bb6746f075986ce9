/** Relations whose tuples the application keeps: level by level, with one load for each. */
import { PARAPET_RBAC_INVALID_ARGUMENT, PARAPET_RBAC_TOO_MANY_RELATIONS } from '../errors.ts'
import {
  EVERYONE,
  PRINCIPAL_TYPE,
  type RelationPlan,
  type RelationStep,
} from '../relations/relation-plan.ts'
import {
  budgetOf,
  pageTooLong,
  readLimits,
  type RelationLimits,
  type RelationObject,
  type Relations,
  type RelationTuple,
} from './relations.ts'
import { compareIds, keyOf, rowOf, type TupleRow } from './tuples.ts'

/** Loads tuples that the application keeps. */
export interface TupleLoader {
  /**
   * Returns the tuples of these objects. Plain tuples of principals other than `principalId` may be left
   * out; further tuples are ignored.
   */
  readonly tuplesOf: (
    objects: readonly (RelationObject & { readonly relations: readonly string[] })[],
    principalId: string,
  ) => readonly RelationTuple[] | Promise<readonly RelationTuple[]>
  /**
   * Returns the tuples with these subjects; `relation` is empty for the subject itself. For lists,
   * and for checks whose walk from the object is too long.
   */
  readonly tuplesTo?: (
    subjects: readonly (RelationObject & { readonly relation: string })[],
  ) => readonly RelationTuple[] | Promise<readonly RelationTuple[]>
}

interface Visit {
  readonly type: string
  readonly id: string
  /** In checks, the relation that is asked for; in lists, the one that the principal has. */
  readonly relation: string
}

/** How far one walk may go, and what all walks of a check may visit together. */
interface WalkLimits {
  readonly maxVisited: number
  /** @throws PARAPET_RBAC_TOO_MANY_RELATIONS */
  readonly spend: (objects: number) => void
}

/** Objects between an object and a principal: each level is a load. */
const MAX_DEPTH = 64

/**
 * Creates relations over tuples of the application.
 *
 * @throws PARAPET_RBAC_INVALID_OPTION
 * @throws PARAPET_RBAC_INVALID_ARGUMENT by `list`, if the loader has no `tuplesTo`.
 */
export function createRelations(loader: TupleLoader, limits: RelationLimits = {}): Relations {
  const { maxVisited } = readLimits('createRelations', limits, {})
  return {
    check(principalId, questions) {
      const lists = new Map<RelationPlan, ReturnType<typeof tryList>>()
      /** The walk from the principal, once for each relation; `undefined`: it is too long as well. */
      const listOnce = (plan: RelationPlan) => {
        const list = lists.get(plan) ?? tryList(loader, plan, principalId, maxVisited)
        lists.set(plan, list)
        return list
      }
      let budget = budgetOf(questions.length, maxVisited)
      const spend = (objects: number): void => {
        budget -= objects
        if (budget < 0) throw pageTooLong(questions, maxVisited)
      }
      const limits = { maxVisited, spend }
      const answers = questions.map(async ({ plan, objectId }) => {
        const answer = await isRelated(loader, plan, principalId, objectId, limits)
        return answer ?? (await listOnce(plan))?.has(objectId) ?? null
      })
      return Promise.all(answers)
    },
    async list(principalId, plan, { after, limit }) {
      const ids = await listRelated(loader, plan, principalId, maxVisited)
      const rest = ids
        .filter((id) => after === undefined || compareIds(id, after) > 0)
        .toSorted(compareIds)
      return { ids: rest.slice(0, limit), hasMore: rest.length > limit }
    },
  }
}

async function tryList(
  loader: TupleLoader,
  plan: RelationPlan,
  principalId: string,
  maxVisited: number,
): Promise<ReadonlySet<string> | undefined> {
  if (loader.tuplesTo === undefined) return undefined
  try {
    return new Set(await listRelated(loader, plan, principalId, maxVisited))
  } catch (error) {
    if (error instanceof PARAPET_RBAC_TOO_MANY_RELATIONS) return undefined
    throw error
  }
}

/** Walks from the object to the principal. @returns `null` if the walk is too long. */
async function isRelated(
  loader: TupleLoader,
  plan: RelationPlan,
  principalId: string,
  objectId: string,
  { maxVisited, spend }: WalkLimits,
): Promise<boolean | null> {
  const start: Visit = { type: plan.type, id: objectId, relation: plan.relation }
  const seen = new Map([[keyOfVisit(start), start]])
  let level: readonly Visit[] = [start]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH || seen.size > maxVisited) return null
    spend(level.length)
    const rows = (await loader.tuplesOf(objectsOf(level, plan), principalId)).map(rowOf)
    const byObject = groupRows(rows, ({ objectType, objectId: id }) => keyOf(objectType, id))
    const next = new Map<string, Visit>()
    for (const visit of level) {
      const found = byObject.get(keyOf(visit.type, visit.id)) ?? []
      for (const row of found) {
        if (plan.ends.some((end) => follows(end, visit, row) && names(row, principalId))) {
          return true
        }
        for (const step of plan.steps) {
          if (!follows(step, visit, row)) continue
          addNew(next, seen, { type: row.subjectType, id: row.subjectId, relation: step.next })
        }
      }
    }
    level = [...next.values()]
  }
  return false
}

/** Walks from the principal to the objects. */
async function listRelated(
  loader: TupleLoader,
  plan: RelationPlan,
  principalId: string,
  maxVisited: number,
): Promise<readonly string[]> {
  if (loader.tuplesTo === undefined) {
    throw new PARAPET_RBAC_INVALID_ARGUMENT('"tuplesTo" of the loader', 'is required for lists')
  }
  const everyone = { type: PRINCIPAL_TYPE, id: '', relation: EVERYONE }
  let level: readonly Visit[] = [{ type: PRINCIPAL_TYPE, id: principalId, relation: '' }, everyone]
  const seen = new Map(level.map((visit) => [keyOfVisit(visit), visit]))
  const steps = [...plan.steps, ...plan.ends]
  for (let depth = 0; level.length > 0; depth++) {
    // As far as a check goes, and no further: otherwise a list would contain what a check refuses.
    if (depth > MAX_DEPTH + 1)
      throw new PARAPET_RBAC_TOO_MANY_RELATIONS(plan.key, `${MAX_DEPTH} levels`)
    if (seen.size > maxVisited)
      throw new PARAPET_RBAC_TOO_MANY_RELATIONS(plan.key, `${maxVisited} objects`)
    const rows = (await loader.tuplesTo(subjectsOf(level, steps))).map(rowOf)
    const bySubject = groupRows(rows, (row) =>
      keyOf(row.subjectType, row.subjectId, row.subjectRelation),
    )
    const next = new Map<string, Visit>()
    for (const visit of level) {
      for (const step of steps.filter((each) => comesFrom(each, visit))) {
        const found = bySubject.get(keyOf(visit.type, visit.id, step.subjectRelation)) ?? []
        for (const row of found) {
          if (row.objectType !== step.type || row.relation !== step.relation) continue
          addNew(next, seen, { type: step.type, id: row.objectId, relation: step.target })
        }
      }
    }
    level = [...next.values()]
  }
  return [...seen.values()]
    .filter(({ type, relation }) => type === plan.type && relation === plan.relation)
    .map(({ id }) => id)
}

function follows(step: RelationStep, visit: Visit, row: TupleRow): boolean {
  return (
    step.type === visit.type &&
    step.target === visit.relation &&
    step.relation === row.relation &&
    step.subjectType === row.subjectType &&
    step.subjectRelation === row.subjectRelation
  )
}

/** Everyone has no id: a tuple with both is malformed. */
function names({ subjectRelation, subjectId }: TupleRow, principalId: string): boolean {
  return subjectId === (subjectRelation === EVERYONE ? '' : principalId)
}

/** The relation that a principal has to the subject, if the step is followed backwards. */
function comesFrom(step: RelationStep, { type, relation }: Visit): boolean {
  return (
    step.subjectType === type && (step.next === '' ? step.subjectRelation : step.next) === relation
  )
}

function addNew(next: Map<string, Visit>, seen: Map<string, Visit>, visit: Visit): void {
  const key = keyOfVisit(visit)
  if (seen.has(key)) return
  seen.set(key, visit)
  next.set(key, visit)
}

function objectsOf(level: readonly Visit[], { steps, ends }: RelationPlan) {
  return level.map(({ type, id, relation }) => {
    const followed = [...steps, ...ends].filter(
      (step) => step.type === type && step.target === relation,
    )
    return { type, id, relations: [...new Set(followed.map((step) => step.relation))] }
  })
}

function subjectsOf(level: readonly Visit[], steps: readonly RelationStep[]) {
  const subjects = level.flatMap((visit) => {
    const relations = steps
      .filter((step) => comesFrom(step, visit))
      .map(({ subjectRelation }) => subjectRelation)
    return [...new Set(relations)].map((relation) => ({ type: visit.type, id: visit.id, relation }))
  })
  return [...new Map(subjects.map((each) => [keyOfVisit(each), each])).values()]
}

function groupRows(rows: readonly TupleRow[], keyOfRow: (row: TupleRow) => string) {
  const groups = new Map<string, TupleRow[]>()
  for (const row of rows) {
    const key = keyOfRow(row)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [row])
    else group.push(row)
  }
  return groups
}

function keyOfVisit({ type, id, relation }: Visit): string {
  return keyOf(type, id, relation)
}
