/** Filters: which rows a principal may access. Everything but the row is evaluated in advance. */
import type { Principal } from '@parapet/kit'
import { compileCondition, evaluateSafely } from '../conditions/compile-condition.ts'
import type { DecisionContext } from '../conditions/context.ts'
import { foldNode, replaceRelated, simplify } from '../conditions/fold-condition.ts'
import { factsOf, relatedNodesOf, type Node, type RelatedNode } from '../conditions/nodes.ts'
import { printNode } from '../conditions/print-condition.ts'
import { PARAPET_RBAC_FACT_IN_FILTER, PARAPET_RBAC_RELATION_IN_FILTER } from '../errors.ts'
import type { Relations } from '../tuples/relations.ts'
import type { SqlFragment } from '../sql/fragment.ts'
import { writeSql, type SqlNaming, type SubselectOf } from '../sql/write-sql.ts'
import type { Engine } from './engine.ts'
import type { LookupLimits } from './find-related.ts'
import { answerRelated } from './list-related.ts'
import { isAllowed, isConditional, type Rights } from './rights.ts'

/** The rule that rows must satisfy. */
export interface Filter {
  /** `all` and `none` do not depend on the row. */
  readonly kind: 'all' | 'none' | 'where'
  /**
   * Whether a row passes. The result is the same as that of `can`.
   *
   * @throws PARAPET_RBAC_RELATION_IN_FILTER if a relation decides and was not loaded; use `loadFilter`.
   */
  matches(row: object): boolean
  /**
   * Returns the rule as a boolean expression of PostgreSQL, MySQL or SQLite, with values as parameters.
   * Use it in `WHERE`, with `AND`. A row for which it is NULL does not pass.
   *
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if the name of a column is invalid, or if the database cannot
   *   compare an attribute or read a relation.
   */
  sql(naming?: SqlNaming): SqlFragment
  /** The rule in words. */
  readonly text: string
}

/** What remains of a rule. Any grant allows a row and any deny rule refuses it. */
export interface Residual {
  readonly grants: readonly Node[]
  readonly denies: readonly Node[]
}

/**
 * Creates the filter of one permission.
 *
 * @param rights `null`: no row passes.
 * @throws PARAPET_RBAC_FACT_IN_FILTER if a fact decides: it could differ from row to row.
 */
export function createFilter(
  engine: Engine,
  rights: Rights | null,
  permission: number,
  context: DecisionContext,
  relations?: Relations,
): Filter {
  if (rights === null) return constantFilter('none')
  const residual = foldRule(engine, rights, permission, context)
  return createResidualFilter(residual, engine, permission, context.principal, relations)
}

/** As {@link createFilter}; tests of relations become lists of ids, so that every row can be decided. */
export async function loadFilter(
  engine: Engine,
  rights: Rights | null,
  permission: number,
  context: DecisionContext,
  relations: Relations | undefined,
  limits: LookupLimits,
): Promise<Filter> {
  if (rights === null) return constantFilter('none')
  const residual = await loadResidual(engine, rights, permission, context, relations, limits)
  return createResidualFilter(residual, engine, permission, context.principal)
}

/** Folds a rule, and replaces tests of relations by lists of ids. */
export async function loadResidual(
  engine: Engine,
  rights: Rights,
  permission: number,
  context: DecisionContext,
  relations: Relations | undefined,
  limits: LookupLimits,
): Promise<Residual> {
  const { grants, denies } = foldRule(engine, rights, permission, context)
  const nodes = [...grants, ...denies].flatMap(relatedNodesOf)
  if (nodes.length === 0) return { grants, denies }
  const answers = await answerRelated(nodes, context.principal.id, relations, limits)
  const replace = (node: Node): Node =>
    replaceRelated(node, context, (each: RelatedNode) => answers.get(each)!)
  return { grants: grants.map(replace), denies: denies.map(replace) }
}

/** Creates the filter of what remains of a rule. */
export function createResidualFilter(
  { grants, denies }: Residual,
  engine: Engine,
  permission: number,
  principal: Principal,
  relations?: Relations,
): Filter {
  const granted = simplify('or', grants)
  // A deny rule applies unless it is false, so an unknown one refuses every row.
  const refused = simplify('or', denies.map(orTrue))
  if (isValue(granted, false) || isValue(granted, null) || isValue(refused, true)) {
    return constantFilter('none')
  }
  if (isValue(granted, true) && isValue(refused, false)) return constantFilter('all')
  const [fact] = [granted, refused].flatMap(factsOf)
  if (fact !== undefined) {
    throw new PARAPET_RBAC_FACT_IN_FILTER(engine.model.policy.permissions[permission]!, fact)
  }
  const open = refused.op === 'value' ? [] : denies.filter((node) => !isValue(node, false))
  return whereFilter(granted, open, principal, relations)
}

/** Evaluates everything that does not depend on the row. */
export function foldRule(
  engine: Engine,
  rights: Rights,
  permission: number,
  context: DecisionContext,
): Residual {
  const truth: Node = { op: 'value', value: true }
  if (isAllowed(rights, permission)) return { grants: [truth], denies: [] }
  if (!isConditional(rights, permission)) return { grants: [], denies: [] }
  const { isGranted, grants, denies } = engine.ruleOf(rights, permission)
  return {
    grants: isGranted ? [truth] : grants.map(({ node }) => foldNode(node, context)),
    denies: denies.map(({ node }) => foldNode(node, context)),
  }
}

function orTrue(node: Node): Node {
  return isValue(node, null) ? { op: 'value', value: true } : node
}

function isValue(node: Node, value: boolean | null): boolean {
  return node.op === 'value' && node.value === value
}

/** For resources that are decided one by one afterwards. */
export const everyRow: Filter = constantFilter('all')

function constantFilter(kind: 'all' | 'none'): Filter {
  const passes = kind === 'all'
  const constant = passes ? 'TRUE' : 'FALSE'
  return Object.freeze({
    kind,
    matches: () => passes,
    sql: () => ({ text: constant, values: [], strings: [constant] }),
    text: passes ? 'every row' : 'no row',
  })
}

function whereFilter(
  granted: Node,
  denies: readonly Node[],
  principal: Principal,
  relations: Relations | undefined,
): Filter {
  const grant = compileCondition(granted)
  const refusals = denies.map(compileCondition)
  const [unloaded] = [granted, ...denies].flatMap(relatedNodesOf)
  const environment = { time: 0 }
  const texts = [printNode(granted), ...denies.map((node) => `not ${printNode(node)}`)]
  const subselectOf: SubselectOf = (plan) => relations?.subselect?.(principal.id, plan)
  return Object.freeze({
    kind: 'where',
    matches(row: object) {
      if (unloaded !== undefined) throw new PARAPET_RBAC_RELATION_IN_FILTER(unloaded.plan.key)
      // The conditions no longer read anything but the resource.
      const context = {
        principal,
        subject: undefined,
        resource: row,
        environment,
        facts: undefined,
        related: undefined,
      }
      return (
        evaluateSafely(grant, context) === true &&
        refusals.every((refusal) => evaluateSafely(refusal, context) === false)
      )
    },
    sql: (naming: SqlNaming = {}) => writeSql(granted, denies, naming, subselectOf),
    text: texts.filter((text) => text !== 'always').join(' and '),
  })
}
