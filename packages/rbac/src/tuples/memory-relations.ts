/** Relations in the memory of this process: for tests, and for services of one process. */
import { PARAPET_RBAC_INVALID_ARGUMENT } from '../errors.ts'
import { createRelations } from './loaded-relations.ts'
import { EVERYONE, PRINCIPAL_TYPE } from '../relations/relation-plan.ts'
import type { RelationLimits, RelationStore, RelationTuple } from './relations.ts'
import { keyOf, rowOf, tupleOf, type TupleRow } from './tuples.ts'

const MAX_TUPLES = 100_000

/**
 * Creates an empty store. Its tuples are lost when the process ends.
 *
 * @throws PARAPET_RBAC_INVALID_ARGUMENT by `write`, with more than 100 000 tuples.
 */
export function createMemoryRelations(limits: RelationLimits = {}): RelationStore {
  const byObject = new Map<string, Map<string, TupleRow>>()
  const bySubject = new Map<string, Map<string, TupleRow>>()
  let revision = 0
  let count = 0
  const relations = createRelations(
    {
      tuplesOf: (objects, principalId) =>
        objects.flatMap(({ type, id }) =>
          [...(byObject.get(keyOf(type, id))?.values() ?? [])]
            .filter((row) => isWanted(row, principalId))
            .map(tupleOf),
        ),
      tuplesTo: (subjects) =>
        subjects.flatMap(({ type, id, relation }) =>
          [...(bySubject.get(keyOf(type, id, relation))?.values() ?? [])].map(tupleOf),
        ),
    },
    limits,
  )
  return {
    ...relations,
    async write({ add = [], remove = [] }) {
      if (count + add.length > MAX_TUPLES) {
        const problem = `hold at most ${MAX_TUPLES} tuples; use createPostgresRelations`
        throw new PARAPET_RBAC_INVALID_ARGUMENT('Relations in memory', problem)
      }
      for (const row of remove.map(rowOf)) {
        if (removeFrom(byObject, objectKey(row), row)) count--
        removeFrom(bySubject, subjectKey(row), row)
      }
      for (const row of add.map(rowOf)) {
        if (addTo(byObject, objectKey(row), row)) count++
        addTo(bySubject, subjectKey(row), row)
      }
      revision++
    },
    async read({ type, id }, { limit = 1000 } = {}) {
      const found = [...(byObject.get(keyOf(type, id)) ?? [])]
      return found
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit)
        .map(([, row]): RelationTuple => tupleOf(row))
    },
    revision: async () => String(revision),
  }
}

function isWanted({ subjectType, subjectRelation, subjectId }: TupleRow, id: string): boolean {
  return subjectType !== PRINCIPAL_TYPE || subjectRelation === EVERYONE || subjectId === id
}

function keyOfRow(row: TupleRow): string {
  return keyOf(objectKey(row), row.relation, subjectKey(row))
}

function objectKey({ objectType, objectId }: TupleRow): string {
  return keyOf(objectType, objectId)
}

function subjectKey({ subjectType, subjectId, subjectRelation }: TupleRow): string {
  return keyOf(subjectType, subjectId, subjectRelation)
}

/** @returns whether it was not there. */
function addTo(index: Map<string, Map<string, TupleRow>>, key: string, row: TupleRow): boolean {
  const group = index.get(key) ?? new Map<string, TupleRow>()
  index.set(key, group)
  const size = group.size
  return group.set(keyOfRow(row), row).size > size
}

/** @returns whether it was there. */
function removeFrom(
  index: Map<string, Map<string, TupleRow>>,
  key: string,
  row: TupleRow,
): boolean {
  const group = index.get(key)
  const isRemoved = group?.delete(keyOfRow(row)) === true
  if (group?.size === 0) index.delete(key)
  return isRemoved
}
