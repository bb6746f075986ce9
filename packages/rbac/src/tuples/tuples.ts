/** Tuples in one flat form, as they are stored. */
import { EVERYONE, PRINCIPAL_TYPE } from '../relations/relation-plan.ts'
import type { RelationSubject, RelationTuple } from './relations.ts'

/** A tuple as a row. */
export interface TupleRow {
  readonly objectType: string
  readonly objectId: string
  readonly relation: string
  /** Empty: the subject itself; `*`: every principal. */
  readonly subjectRelation: string
  readonly subjectType: string
  readonly subjectId: string
}

/** Flattens a tuple. */
export function rowOf({ object, relation, subject }: RelationTuple): TupleRow {
  return {
    objectType: object.type,
    objectId: object.id,
    relation,
    subjectRelation: isEveryone(subject) ? EVERYONE : (subject.relation ?? ''),
    subjectType: subject.type,
    subjectId: isEveryone(subject) ? '' : subject.id,
  }
}

/** `{ type: 'user', id, everyone: false }` is one principal. */
function isEveryone(
  subject: RelationSubject,
): subject is Extract<RelationSubject, { everyone: true }> {
  return 'everyone' in subject && subject.everyone
}

/** The opposite of {@link rowOf}. */
export function tupleOf(row: TupleRow): RelationTuple {
  const { subjectType, subjectId, subjectRelation } = row
  return {
    object: { type: row.objectType, id: row.objectId },
    relation: row.relation,
    subject:
      subjectRelation === EVERYONE
        ? { type: PRINCIPAL_TYPE, everyone: true }
        : {
            type: subjectType,
            id: subjectId,
            ...(subjectRelation === '' ? undefined : { relation: subjectRelation }),
          },
  }
}

/** How a policy names the subject of a tuple under `direct`. */
export function subjectKind({ subject }: RelationTuple): string {
  if (isEveryone(subject)) return `${subject.type}:${EVERYONE}`
  return subject.relation === undefined ? subject.type : `${subject.type}#${subject.relation}`
}

/** A key of texts, in which no text can imitate another one. */
export function keyOf(...texts: readonly string[]): string {
  return JSON.stringify(texts)
}

/** Compares ids by their UTF-8 bytes, as PostgreSQL's collation "C" does. */
export function compareIds(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Prints a tuple, as `document:1#viewer@group:eng#member`. */
export function textOf(tuple: RelationTuple): string {
  const { object, relation, subject } = tuple
  const target = `${object.type}:${encodeURIComponent(object.id)}#${relation}`
  if (isEveryone(subject)) return `${target}@${subjectKind(tuple)}`
  const userset = subject.relation === undefined ? '' : `#${subject.relation}`
  return `${target}@${subject.type}:${encodeURIComponent(subject.id)}${userset}`
}
