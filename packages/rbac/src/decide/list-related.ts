/** Replaces tests of relations by lists of ids, and lists ids where nothing else decides. */
import { withDeadline } from '@parapet/kit'
import { isExact, readerOf } from '../attributes/attributes.ts'
import type { Node, RelatedNode, Truth } from '../conditions/nodes.ts'
import { PARAPET_RBAC_LOOKUP_TIMEOUT, PARAPET_RBAC_TOO_MANY_RELATIONS } from '../errors.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'
import {
  MAX_VISITED,
  type RelatedPage,
  type RelationQuestion,
  type Relations,
} from '../tuples/relations.ts'
import { compareIds } from '../tuples/tuples.ts'
import type { LookupLimits } from './find-related.ts'

/**
 * Looks up tests of relations for a filter.
 *
 * @returns by test: a condition without relations that has the same result.
 * @throws PARAPET_RBAC_TOO_MANY_RELATIONS
 * @throws PARAPET_RBAC_LOOKUP_TIMEOUT
 */
export async function answerRelated(
  nodes: readonly RelatedNode[],
  principalId: string,
  relations: Relations | undefined,
  { clock, timeoutMs }: LookupLimits,
): Promise<ReadonlyMap<RelatedNode, Node>> {
  if (relations === undefined) return new Map(nodes.map((node) => [node, constant(null)]))
  const work = Promise.all([
    listObjects(nodes, principalId, relations),
    checkObjects(nodes, principalId, relations),
  ])
  const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT('relations', timeoutMs)
  const [lists, checks] = await withDeadline(work, timeoutMs, late, clock)
  return new Map(
    nodes.map((node) => {
      const { plan, left } = node
      if (left.kind === 'literal') return [node, constant(checks.get(node) ?? null)]
      const value = idsAs(lists.get(plan.key)!, left.type)
      return [node, { op: 'in', left, right: { kind: 'literal', type: 'string[]', value } }]
    }),
  )
}

function constant(value: Truth): Node {
  return { op: 'value', value }
}

/** Ids that a column of the type cannot have are left out. */
function idsAs(ids: readonly string[], type: Parameters<typeof readerOf>[0]): readonly unknown[] {
  if (!isExact(type)) return ids
  const read = readerOf(type)
  // Only the canonical form of an id is the id of the object.
  return ids.map(read).filter((each, index) => each !== undefined && String(each) === ids[index])
}

async function listObjects(
  nodes: readonly RelatedNode[],
  principalId: string,
  relations: Relations,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const plans = new Map<string, RelationPlan>()
  for (const { plan, left } of nodes) if (left.kind === 'ref') plans.set(plan.key, plan)
  const lists = [...plans].map(async ([key, plan]) => {
    const { ids, hasMore } = await relations.list(principalId, plan, { limit: MAX_VISITED })
    if (hasMore) throw new PARAPET_RBAC_TOO_MANY_RELATIONS(key, `${MAX_VISITED} objects`)
    return [key, ids] as const
  })
  return new Map(await Promise.all(lists))
}

async function checkObjects(
  nodes: readonly RelatedNode[],
  principalId: string,
  relations: Relations,
): Promise<ReadonlyMap<RelatedNode, Truth>> {
  const asked = nodes.filter(({ left }) => left.kind === 'literal')
  if (asked.length === 0) return new Map()
  const questions = asked.map(({ plan, left }): RelationQuestion => {
    const { value } = left as { readonly value: unknown }
    return { plan, objectId: String(value) }
  })
  const answers = await relations.check(principalId, questions)
  return new Map(asked.map((node, index) => [node, answers[index] ?? null]))
}

/**
 * Lists one page of the objects that a rule grants, if relations to `resource.id` alone decide: the lists of
 * its relations are merged.
 *
 * @returns `undefined` if something else decides.
 * @throws PARAPET_RBAC_TOO_MANY_RELATIONS
 * @throws PARAPET_RBAC_LOOKUP_TIMEOUT
 */
export async function pageRelated(
  rule: { readonly grants: readonly Node[]; readonly denies: readonly Node[] },
  principalId: string,
  relations: Relations | undefined,
  page: { readonly after?: string | undefined; readonly limit: number },
  { clock, timeoutMs }: LookupLimits,
): Promise<RelatedPage | undefined> {
  const plans = new Map<string, RelationPlan>()
  const isAlone =
    rule.denies.every((node) => node.op === 'value' && node.value === false) &&
    rule.grants.every((node) => collectPlans(node, plans))
  if (!isAlone || relations === undefined) return undefined
  const work = Promise.all(
    [...plans.values()].map((plan) => relations.list(principalId, plan, page)),
  )
  const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT('relations', timeoutMs)
  const lists = await withDeadline(work, timeoutMs, late, clock)
  const ids = [...new Set(lists.flatMap((list) => list.ids))].toSorted(compareIds)
  const hasMore = ids.length > page.limit || lists.some((list) => list.hasMore)
  return { ids: ids.slice(0, page.limit), hasMore }
}

/** @returns whether the condition is nothing but relations to the id, one of which is enough. */
function collectPlans(node: Node, found: Map<string, RelationPlan>): boolean {
  if (node.op === 'or') return node.of.every((part) => collectPlans(part, found))
  if (node.op === 'value') return node.value !== true
  if (node.op !== 'related') return false
  const { plan, left } = node
  const isId = left.kind === 'ref' && left.root === 'resource' && left.name === 'id'
  if (!isId || left.type !== 'string') return false
  found.set(plan.key, plan)
  return true
}
