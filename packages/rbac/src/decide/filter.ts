/** Filters: which rows a principal may access. Everything but the row is evaluated in advance. */
import type { Principal } from '@parapet/kit'
import { compileCondition, evaluateSafely } from '../conditions/compile-condition.ts'
import type { DecisionContext } from '../conditions/context.ts'
import { foldNode, simplify } from '../conditions/fold-condition.ts'
import { factsOf, type Node } from '../conditions/nodes.ts'
import { printNode } from '../conditions/print-condition.ts'
import { PARAPET_RBAC_FACT_IN_FILTER } from '../errors.ts'
import type { Engine } from './engine.ts'
import { writeSql, type SqlFragment, type SqlNaming } from './filter-sql.ts'
import { isAllowed, isConditional, type Rights } from './rights.ts'

/** The rule that rows must satisfy. */
export interface Filter {
  /** `all` and `none` do not depend on the row. */
  readonly kind: 'all' | 'none' | 'where'
  /** Whether a row passes. The result is the same as that of `can`. */
  matches(row: object): boolean
  /**
   * Returns the rule as a boolean expression of PostgreSQL, with values as parameters. Use it in
   * `WHERE`, with `AND`. A row for which it is NULL does not pass.
   *
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if the name of a column is invalid.
   */
  sql(naming?: SqlNaming): SqlFragment
  /** The rule in words. */
  readonly text: string
}

/** What remains of a rule. Any grant allows a row and any deny rule refuses it. */
interface Residual {
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
): Filter {
  if (rights === null) return constantFilter('none')
  const { grants, denies } = foldRule(engine, rights, permission, context)
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
  return whereFilter(granted, open, context.principal)
}

function foldRule(
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

function constantFilter(kind: 'all' | 'none'): Filter {
  const passes = kind === 'all'
  return Object.freeze({
    kind,
    matches: () => passes,
    sql: () => ({ text: passes ? 'TRUE' : 'FALSE', values: [] }),
    text: passes ? 'every row' : 'no row',
  })
}

function whereFilter(granted: Node, denies: readonly Node[], principal: Principal): Filter {
  const grant = compileCondition(granted)
  const refusals = denies.map(compileCondition)
  // The conditions no longer read anything but the resource.
  const folded = { principal, subject: undefined, environment: { time: 0 }, facts: undefined }
  const texts = [printNode(granted), ...denies.map((node) => `not ${printNode(node)}`)]
  return Object.freeze({
    kind: 'where',
    matches(row: object) {
      const rowContext = { ...folded, resource: row }
      return (
        evaluateSafely(grant, rowContext) === true &&
        refusals.every((refusal) => evaluateSafely(refusal, rowContext) === false)
      )
    },
    sql: (naming: SqlNaming = {}) => writeSql(granted, denies, naming),
    text: texts.filter((text) => text !== 'always').join(' and '),
  })
}
