/** Which rows may I see: a permission, decided for a subject as far as it goes without the resource. */
import type { Principal } from '@parapet/kit'
import { compileCondition, evaluateSafely } from './condition-compile.ts'
import { foldNode, simplify } from './condition-fold.ts'
import { printNode, type Node } from './condition-nodes.ts'
import type { DecisionContext } from './context.ts'
import { isSure, type Engine, type Subject } from './engine.ts'
import { writeSql, type SqlFragment, type SqlNaming } from './sql.ts'

/** The rule that is left for the rows. */
export interface Filter {
  /** `all` and `none` say it without looking at a row. */
  readonly kind: 'all' | 'none' | 'where'
  /** Whether one row passes; the same answer as `can` gives. */
  matches(row: object): boolean
  /**
   * The rule as a boolean expression of PostgreSQL, with values as parameters. Put it into `WHERE`
   * with `AND`; a row for which it is NULL does not pass.
   *
   * @throws PARAPET_RBAC_INVALID_ARGUMENT a column has no usable name.
   */
  sql(naming?: SqlNaming): SqlFragment
  /** The rule as a person reads it. */
  readonly text: string
}

/** The residual rule: granted by any of these, refused by any of those. */
interface Residual {
  readonly grants: readonly Node[]
  readonly denies: readonly Node[]
}

/**
 * Makes the filter of one permission. Facts that are not in the context stay unknown.
 *
 * @param subject `null` sees nothing.
 */
export function createFilter(
  engine: Engine,
  subject: Subject | null,
  permission: number,
  context: DecisionContext,
): Filter {
  if (subject === null) return constantFilter('none')
  const { grants, denies } = foldRule(engine, subject, permission, context)
  const granted = simplify('or', grants)
  // A deny rule matches unless it is false, so what stays open of it must be false.
  const refused = simplify('or', denies.map(orTrue))
  if (isValue(granted, false) || isValue(granted, null) || isValue(refused, true)) {
    return constantFilter('none')
  }
  if (isValue(granted, true) && isValue(refused, false)) return constantFilter('all')
  const open = refused.op === 'value' ? [] : denies.filter((node) => !isValue(node, false))
  return whereFilter(granted, open, context.principal)
}

function foldRule(
  engine: Engine,
  subject: Subject,
  permission: number,
  context: DecisionContext,
): Residual {
  const truth: Node = { op: 'value', value: true }
  if (isSure(subject, permission)) return { grants: [truth], denies: [] }
  if ((subject.maybe[permission >>> 5]! & (1 << (permission & 31))) === 0) {
    return { grants: [], denies: [] }
  }
  const { always, grants, denies } = engine.ruleOf(subject, permission)
  return {
    grants: always ? [truth] : grants.map(({ node }) => foldNode(node, context)),
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
  // Everything but the resource is folded into the conditions by now.
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
