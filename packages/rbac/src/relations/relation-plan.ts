/**
 * Relations as a policy declares them, and the plan that answers "is the principal related to this
 * object?". A plan is data: the evaluator in memory and the statements of PostgreSQL follow the same one.
 */
import { createHash } from 'node:crypto'

/** How principals get one relation to an object. */
export interface RelationDocument {
  /**
   * Who can be named in a tuple: `user` (a principal), `user:*` (every principal), `group#member` (who
   * has that relation to a group), or a type such as `folder` (for `parent.viewer`).
   */
  readonly direct: readonly string[]
  /** Relations that imply it: `editor` of the same object, `parent.viewer` of a related one. */
  readonly includes: readonly string[]
}

/** By type of object: its relations. */
export type RelationsDocument = Readonly<Record<string, Readonly<Record<string, RelationDocument>>>>

/** The type of principals in tuples. */
export const PRINCIPAL_TYPE = 'user'
/** The subject relation of a tuple that names every principal. */
export const EVERYONE = '*'

/** One kind of tuple that a relation follows. */
export interface RelationStep {
  /** The type of the object, and the relation that is asked for. */
  readonly type: string
  readonly target: string
  /** The relation in the tuple. */
  readonly relation: string
  readonly subjectType: string
  /** The relation of the subject in the tuple; empty: the subject itself; `*`: everyone. */
  readonly subjectRelation: string
  /** The relation to the subject that is asked for next; empty: the subject is a principal. */
  readonly next: string
}

/** Everything that decides one relation. */
export interface RelationPlan {
  /** As `document#viewer`. */
  readonly key: string
  readonly type: string
  readonly relation: string
  /** Tuples that lead to another object. */
  readonly steps: readonly RelationStep[]
  /** Tuples that name principals. */
  readonly ends: readonly RelationStep[]
  /** Differs if the steps differ: a policy that is published later can declare another relation. */
  readonly digest: string
}

/**
 * Returns the plan of one relation, or `undefined` if it is not declared.
 *
 * @param key as `document#viewer`.
 */
export function planRelation(relations: RelationsDocument, key: string): RelationPlan | undefined {
  const [type = '', relation = ''] = key.split('#', 2)
  if (relationOf(relations, type, relation) === undefined) return undefined
  const all = new Map<string, readonly RelationStep[]>()
  const pending = [[type, relation] as const]
  for (const [eachType, target] of pending) {
    const name = `${eachType}#${target}`
    if (all.has(name)) continue
    const steps = withoutImplied(relations, stepsOf(relations, eachType, target))
    all.set(name, steps)
    for (const { subjectType, next } of steps) if (next !== '') pending.push([subjectType, next])
  }
  const steps = [...all.values()].flat()
  const digest = createHash('sha256').update(JSON.stringify(steps)).digest('base64url')
  return Object.freeze({
    key,
    type,
    relation,
    steps: steps.filter(({ next }) => next !== ''),
    ends: steps.filter(({ next }) => next === ''),
    digest,
  })
}

/** Returns the declaration of a relation. */
export function relationOf(
  relations: RelationsDocument,
  type: string,
  relation: string,
): RelationDocument | undefined {
  if (!Object.hasOwn(relations, type)) return undefined
  return Object.hasOwn(relations[type]!, relation) ? relations[type]![relation] : undefined
}

/** Whether a tuple is one that the policy allows. */
export function isDeclaredTuple(
  relations: RelationsDocument,
  tuple: { readonly type: string; readonly relation: string; readonly subject: string },
): boolean {
  const declared = relationOf(relations, tuple.type, tuple.relation)
  return declared !== undefined && declared.direct.includes(tuple.subject)
}

function stepsOf(relations: RelationsDocument, type: string, target: string): RelationStep[] {
  return impliedBy(relations, type, target).flatMap((relation) => {
    const { direct, includes } = relationOf(relations, type, relation)!
    const named = direct.flatMap((subject) => directStep(type, target, relation, subject))
    const through = includes.flatMap((each) => {
      const [link = '', next] = each.split('.', 2)
      if (next === undefined) return []
      return plainTypes(relationOf(relations, type, link)?.direct ?? [])
        .filter((subjectType) => relationOf(relations, subjectType, next) !== undefined)
        .map((subjectType) => ({
          type,
          target,
          relation: link,
          subjectType,
          subjectRelation: '',
          next,
        }))
    })
    return [...named, ...through]
  })
}

/**
 * Leaves steps out whose answer another one contains: where `viewer` includes `editor`, `parent.viewer` finds
 * everything that `parent.editor` does, and a walk through both visits every folder twice.
 */
function withoutImplied(
  relations: RelationsDocument,
  steps: readonly RelationStep[],
): readonly RelationStep[] {
  const kept = new Map(steps.map((step) => [JSON.stringify(Object.values(step)), step]))
  for (const [key, step] of kept) {
    if (step.next === '') continue
    const isImplied = [...kept.values()].some(
      (other) =>
        other.next !== step.next &&
        other.next !== '' &&
        keyWithout(other) === keyWithout(step) &&
        impliedBy(relations, other.subjectType, other.next).includes(step.next),
    )
    if (isImplied) kept.delete(key)
  }
  return [...kept.values()]
}

/** The tuples that a step follows. */
function keyWithout({
  type,
  target,
  relation,
  subjectType,
  subjectRelation,
}: RelationStep): string {
  return JSON.stringify([type, target, relation, subjectType, subjectRelation])
}

/** A plain type such as `folder` is followed by `parent.viewer` only. */
function directStep(
  type: string,
  target: string,
  relation: string,
  subject: string,
): RelationStep[] {
  const step = { type, target, relation }
  if (subject === PRINCIPAL_TYPE || subject === `${PRINCIPAL_TYPE}:${EVERYONE}`) {
    const subjectRelation = subject === PRINCIPAL_TYPE ? '' : EVERYONE
    return [{ ...step, subjectType: PRINCIPAL_TYPE, subjectRelation, next: '' }]
  }
  const [subjectType = '', next] = subject.split('#', 2)
  return next === undefined ? [] : [{ ...step, subjectType, subjectRelation: next, next }]
}

/** Returns the relation and those of the same object that imply it. */
function impliedBy(relations: RelationsDocument, type: string, target: string): string[] {
  const found = new Set([target])
  for (const relation of found) {
    for (const each of relationOf(relations, type, relation)!.includes) {
      if (relationOf(relations, type, each) !== undefined) found.add(each)
    }
  }
  return [...found]
}

/** Returns the types whose objects can be named as such. */
export function plainTypes(direct: readonly string[]): readonly string[] {
  return direct.filter((each) => !each.includes('#') && !each.includes(':'))
}
