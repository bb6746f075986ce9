/** Looks up the relations of a principal for one decision. */
import { withDeadline, type Clock } from '@parapet/kit'
import { compileReader, type DecisionContext, type RelatedAnswers } from '../conditions/context.ts'
import type { RelatedNode, Truth } from '../conditions/nodes.ts'
import { PARAPET_RBAC_LOOKUP_TIMEOUT } from '../errors.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'
import type { RelationQuestion, Relations } from '../tuples/relations.ts'

/** Limits of lookups. */
export interface LookupLimits {
  readonly clock: Clock
  readonly timeoutMs: number
}

/** Answers of one moment, by relation and object. */
export class Related implements RelatedAnswers {
  readonly #answers = new Map<string, Truth>()

  of(plan: RelationPlan, objectId: string): Truth {
    return this.#answers.get(keyOfAnswer(plan, objectId)) ?? null
  }

  knows(plan: RelationPlan, objectId: string): boolean {
    return this.#answers.has(keyOfAnswer(plan, objectId))
  }

  set(plan: RelationPlan, objectId: string, answer: Truth): void {
    this.#answers.set(keyOfAnswer(plan, objectId), answer)
  }
}

/** A candidate policy can declare another relation under the same name. */
function keyOfAnswer({ key, digest }: RelationPlan, objectId: string): string {
  return `${key} ${digest} ${objectId}`
}

/**
 * Asks all questions of the conditions at once. If the answer fails or takes longer than the timeout,
 * the relations stay unknown: a grant that needs them fails and a deny rule that needs them applies.
 */
export async function findRelated(
  nodes: readonly RelatedNode[],
  context: DecisionContext,
  relations: Relations | undefined,
  limits: LookupLimits,
): Promise<Related> {
  try {
    return await findRelatedOf(nodes, [context], relations, limits)
  } catch {
    // The relations stay unknown.
    return new Related()
  }
}

/** As {@link findRelated}, for several resources. @throws PARAPET_RBAC_LOOKUP_TIMEOUT, or what fails. */
export async function findRelatedOf(
  nodes: readonly RelatedNode[],
  contexts: readonly DecisionContext[],
  relations: Relations | undefined,
  { clock, timeoutMs }: LookupLimits,
): Promise<Related> {
  const related = new Related()
  const questions = questionsOf(nodes, contexts)
  if (relations === undefined || questions.length === 0) return related
  const asked = relations.check(contexts[0]!.principal.id, questions)
  const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT('relations', timeoutMs)
  const answers = await withDeadline(asked, timeoutMs, late, clock)
  for (const [index, { plan, objectId }] of questions.entries()) {
    related.set(plan, objectId, readAnswer(answers[index]))
  }
  return related
}

/** A port of the application may return anything. */
function readAnswer(answer: unknown): Truth {
  return typeof answer === 'boolean' ? answer : null
}

/** Returns what must be looked up. Without the id of an object, the condition is unknown. */
export function questionsOf(
  nodes: readonly RelatedNode[],
  contexts: readonly DecisionContext[],
): RelationQuestion[] {
  const questions = new Map<string, RelationQuestion>()
  for (const { plan, left } of nodes) {
    const read = left.kind === 'literal' ? () => left.value : compileReader(left)
    for (const context of contexts) {
      const id = readSafely(read, context)
      if (id === undefined) continue
      const objectId = String(id)
      questions.set(JSON.stringify([plan.key, objectId]), { plan, objectId })
    }
  }
  return [...questions.values()]
}

/** An accessor of the resource may throw. */
function readSafely<T>(read: (context: DecisionContext) => T, context: DecisionContext) {
  try {
    return read(context)
  } catch {
    return undefined
  }
}
