/** Lists the resources that a principal may access, page by page. */
import { withDeadline } from '@parapet/kit'
import type { DecisionContext } from '../conditions/context.ts'
import type { Node } from '../conditions/nodes.ts'
import type { Engine } from '../decide/engine.ts'
import {
  createFilter,
  createResidualFilter,
  everyRow,
  foldRule,
  loadResidual,
  type Filter,
  type Residual,
} from '../decide/filter.ts'
import { findRelatedOf, type LookupLimits } from '../decide/find-related.ts'
import { pageRelated } from '../decide/list-related.ts'
import type { Rights } from '../decide/rights.ts'
import {
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_LOOKUP_TIMEOUT,
  PARAPET_RBAC_NO_LISTER,
  PARAPET_RBAC_TOO_MANY_RELATIONS,
} from '../errors.ts'
import type { Relations } from '../tuples/relations.ts'
import { compareIds } from '../tuples/tuples.ts'

/** What a lister is asked for. */
export interface ListQuery {
  readonly type: string
  /** The rule that the resources must satisfy; use its `sql`. Every one is decided again. */
  readonly filter: Filter
  /** The id after which to continue; `undefined`: from the first. */
  readonly after: string | undefined
  /** The largest number of resources to return. Fewer mean that there are no more. */
  readonly limit: number
}

/** A resource: its id, and the attributes that conditions read. */
type ListedResource = object & { readonly id: string | number | bigint }

/** Returns resources in the order of their ids. */
export type ResourceLister = (
  query: ListQuery,
) => readonly ListedResource[] | Promise<readonly ListedResource[]>

/** One page. */
export interface ResourcePage {
  readonly ids: readonly string[]
  /** Pass it as `after` to continue; absent: there are no more. */
  readonly next?: string
}

/** Which page. */
export interface PageOptions {
  readonly after?: string | undefined
  /** 1 to 1000. @default 100 */
  readonly limit?: number | undefined
}

/** See {@link listResources}. */
export interface ListServices {
  readonly resources: Readonly<Record<string, ResourceLister>>
  readonly relations?: Relations | undefined
  readonly limits: LookupLimits
}

/** Which resources, for whom. */
interface ListQuestion {
  readonly engine: Engine
  readonly rights: Rights
  readonly permission: number
  readonly type: string
  readonly context: DecisionContext
}

const MAX_LIMIT = 1000
/** A lister that ignores the filter must not be called for ever. */
const MAX_CALLS = 20

/**
 * Lists resources of a type.
 *
 * @throws PARAPET_RBAC_NO_LISTER if the option `resources` has no function for the type, and not only
 *   relations decide.
 * @throws PARAPET_RBAC_INVALID_ARGUMENT if the page is invalid.
 * @throws PARAPET_RBAC_LOOKUP_TIMEOUT
 * @throws PARAPET_RBAC_TOO_MANY_RELATIONS if nothing lists the resources and relations lead to too many.
 */
export async function listResources(
  services: ListServices,
  question: ListQuestion,
  { after, limit = 100 }: PageOptions,
): Promise<ResourcePage> {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    const problem = `must be an integer from 1 to ${MAX_LIMIT}, got ${String(limit)}`
    throw new PARAPET_RBAC_INVALID_ARGUMENT('"limit"', problem)
  }
  if (after !== undefined && typeof after !== 'string') {
    throw new PARAPET_RBAC_INVALID_ARGUMENT('"after"', `must be an id as text, got ${typeof after}`)
  }
  const { resources } = services
  const { type } = question
  return Object.hasOwn(resources, type)
    ? listRows(services, question, resources[type]!, { after, limit })
    : listRelated(services, question, { after, limit })
}

/** Lists what relations alone decide. */
async function listRelated(
  { relations, limits }: ListServices,
  { engine, rights, permission, type, context }: ListQuestion,
  page: { readonly after: string | undefined; readonly limit: number },
): Promise<ResourcePage> {
  const { id: principalId } = context.principal
  const rule = foldRule(engine, rights, permission, context)
  const found = await pageRelated(rule, principalId, relations, page, limits)
  if (found !== undefined) return pageOf(found.ids, found.hasMore)
  const residual = await loadResidual(engine, rights, permission, context, relations, limits)
  const filter = createResidualFilter(residual, engine, permission, context.principal)
  if (filter.kind === 'none') return { ids: [] }
  const ids = idsIn(residual)
  if (ids === undefined) throw new PARAPET_RBAC_NO_LISTER(type)
  const { after, limit } = page
  const rest = ids.filter((id) => after === undefined || compareIds(id, after) > 0)
  return pageOf(rest.slice(0, limit), rest.length > limit)
}

/** Lists the rows of a lister by a filter; if relations lead to too many objects, it decides every row. */
async function listRows(
  services: ListServices,
  question: ListQuestion,
  lister: ResourceLister,
  page: { readonly after: string | undefined; readonly limit: number },
): Promise<ResourcePage> {
  const { relations, limits } = services
  const { engine, rights, permission, type, context } = question
  const residual = await tryResidual(services, question)
  if (residual !== undefined) {
    const filter = createResidualFilter(residual, engine, permission, context.principal)
    if (filter.kind === 'none') return { ids: [] }
    const decide: RowDecider = (rows) => rows.map((row) => filter.matches(row))
    return readPages(lister, { type, filter, ...page }, decide, limits)
  }
  // Throws if a fact decides.
  createFilter(engine, rights, permission, context, relations)
  const decide: RowDecider = (rows) => decideRows(services, question, rows)
  return readPages(lister, { type, filter: everyRow, ...page }, decide, limits)
}

/** @returns `undefined` if relations lead to too many objects. */
async function tryResidual(
  { relations, limits }: ListServices,
  { engine, rights, permission, context }: ListQuestion,
): Promise<Residual | undefined> {
  try {
    return await loadResidual(engine, rights, permission, context, relations, limits)
  } catch (error) {
    if (error instanceof PARAPET_RBAC_TOO_MANY_RELATIONS) return undefined
    throw error
  }
}

/** Decides resources as `check` does, with one lookup of the relations of all. */
async function decideRows(
  { relations, limits }: ListServices,
  { engine, rights, permission, context }: ListQuestion,
  rows: readonly ListedResource[],
): Promise<readonly boolean[]> {
  const contexts = rows.map((resource) => ({ ...context, resource }))
  const nodes = engine.ruleOf(rights, permission).related
  const related = await findRelatedOf(nodes, contexts, relations, limits)
  return contexts.map((each) => engine.decide(rights, permission, { ...each, related }).allowed)
}

type RowDecider = (
  rows: readonly ListedResource[],
) => readonly boolean[] | Promise<readonly boolean[]>

async function readPages(
  list: ResourceLister,
  query: ListQuery,
  decide: RowDecider,
  { clock, timeoutMs }: LookupLimits,
): Promise<ResourcePage> {
  const { limit } = query
  const late = (): Error => new PARAPET_RBAC_LOOKUP_TIMEOUT('resources', timeoutMs)
  const ids: string[] = []
  let { after } = query
  for (let call = 0; call < MAX_CALLS; call++) {
    const listed = Promise.resolve(list({ ...query, after, limit: limit + 1 }))
    const rows = await withDeadline(listed, timeoutMs, late, clock)
    const passes = await decide(rows)
    for (const [index, row] of rows.entries()) {
      // The id of the last resource that was looked at, so that the next page continues after it.
      if (ids.length === limit) return pageOf(ids, true, after)
      after = String(row.id)
      if (passes[index] === true) ids.push(after)
    }
    if (rows.length <= limit) return pageOf(ids, false)
  }
  return pageOf(ids, true, after)
}

function pageOf(ids: readonly string[], hasMore: boolean, next = ids.at(-1)): ResourcePage {
  return hasMore && next !== undefined ? { ids, next } : { ids }
}

/** Returns the ids of the objects, if nothing but relations to `resource.id` decides. */
function idsIn({ grants, denies }: Residual): readonly string[] | undefined {
  if (denies.some((node) => node.op !== 'value' || node.value !== false)) return undefined
  const found = new Set<string>()
  return grants.every((node) => collectIds(node, found))
    ? [...found].toSorted(compareIds)
    : undefined
}

function collectIds(node: Node, found: Set<string>): boolean {
  if (node.op === 'or') return node.of.every((part) => collectIds(part, found))
  if (node.op === 'value') return node.value !== true
  const isList =
    node.op === 'in' &&
    node.left.kind === 'ref' &&
    node.left.root === 'resource' &&
    node.left.name === 'id' &&
    node.right.kind === 'literal'
  if (!isList) return false
  for (const id of node.right.value as readonly unknown[]) found.add(String(id))
  return true
}
