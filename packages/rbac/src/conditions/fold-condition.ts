/** Evaluates the known parts of a condition, so that only tests of the resource remain. */
import { isExact } from '../attributes/attributes.ts'
import { compileCondition, evaluateSafely, membersOf } from './compile-condition.ts'
import { compileReader, type DecisionContext } from './context.ts'
import type { Literal, Node, RelatedNode, Term } from './nodes.ts'

/**
 * Returns what remains of a condition once subject, environment and facts are known. If the context
 * has no facts, tests of facts remain as well.
 */
export function foldNode(node: Node, context: DecisionContext): Node {
  if (node.op === 'and' || node.op === 'or') {
    return simplify(
      node.op,
      node.of.map((part) => foldNode(part, context)),
    )
  }
  if (node.op !== 'not') return foldLeaf(node, context)
  const inner = foldNode(node.of, context)
  if (inner.op !== 'value') return { op: 'not', of: inner }
  return { op: 'value', value: inner.value === null ? null : !inner.value }
}

function foldLeaf(
  node: Exclude<Node, { op: 'and' | 'or' | 'not' }>,
  context: DecisionContext,
): Node {
  if (node.op === 'related' && context.related === undefined) {
    const left = foldTerm(node.left, context)
    return left === null ? { op: 'value', value: null } : { ...node, left }
  }
  const terms = node.op === 'value' ? [] : 'right' in node ? [node.left, node.right] : [node.left]
  if (!terms.some((term) => isOpen(term, context))) {
    return { op: 'value', value: evaluateSafely(compileCondition(node), context) }
  }
  if (!('right' in node)) return node
  const left = foldTerm(node.left, context)
  const right = foldTerm(node.right, context)
  if (left === null || right === null) return { op: 'value', value: null }
  const isFolded = node.right.kind === 'ref' && right.kind === 'literal'
  return foldList({ ...node, left, right }, isFolded)
}

/** Replaces every test of a relation, and folds the rest again. */
export function replaceRelated(
  node: Node,
  context: DecisionContext,
  replace: (node: RelatedNode) => Node,
): Node {
  if (node.op === 'related') return replace(node)
  if (node.op === 'not') {
    return foldNode({ op: 'not', of: replaceRelated(node.of, context, replace) }, context)
  }
  if (node.op !== 'and' && node.op !== 'or') return node
  return simplify(
    node.op,
    node.of.map((part) => replaceRelated(part, context, replace)),
  )
}

/** If a list has members of another type, "not in the list" is unknown; see `isMember`. */
function foldList(node: Extract<Node, { right: Term }>, isFolded: boolean): Node {
  if (node.op === 'sets') return foldSets(node)
  if (node.op !== 'in' || node.right.kind !== 'literal') return node
  const { type } = node.left
  const list = node.right.value as readonly unknown[]
  // Constants of the policy are in their normal form already.
  if (isExact(type) && !isFolded) return node
  const members = isExact(type)
    ? membersOf(list, type).filter((entry) => entry !== undefined)
    : list.filter((entry) => typeof entry === type)
  if (members.length === list.length && !isExact(type)) return node
  if (members.length === list.length) return { ...node, right: { ...node.right, value: members } }
  const rest: Node = { ...node, right: { ...node.right, value: members } }
  return { op: 'or', of: [rest, { op: 'value', value: null }] }
}

/** Members of another type are in no list; without them, only one answer is still certain. */
function foldSets(node: Extract<Node, { op: 'sets' }>): Node {
  const unknown: Node = { op: 'value', value: null }
  const literals = [node.left, node.right].filter((term) => term.kind === 'literal')
  const isPure = literals.every(({ value }) => (value as readonly unknown[]).every(isText))
  if (isPure) return node
  const pure = { ...node, left: pureList(node.left), right: pureList(node.right) }
  const isLeft = node.left.kind === 'literal'
  // A member of the right list that is no text may be missing; one of the left list may be anything.
  const op = node.mode === 'all' && !isLeft ? 'and' : 'or'
  return { op, of: [pure, unknown] }
}

function pureList(term: Term): Term {
  if (term.kind !== 'literal') return term
  return { ...term, value: (term.value as readonly unknown[]).filter(isText) }
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function foldTerm(term: Term, context: DecisionContext): Term | null {
  if (term.kind === 'literal' || isOpen(term, context)) return term
  const value = compileReader(term)(context)
  return value === undefined
    ? null
    : ({ kind: 'literal', value, type: term.type } satisfies Literal)
}

function isOpen(term: Term, { facts }: DecisionContext): boolean {
  if (term.kind === 'literal') return false
  return term.root === 'resource' || (term.root === 'fact' && facts === undefined)
}

/** Drops parts that cannot change the result. Unknown parts stay: they can prevent a true result. */
export function simplify(op: 'and' | 'or', parts: readonly Node[]): Node {
  const decisive = op === 'or'
  if (parts.some((part) => part.op === 'value' && part.value === decisive)) {
    return { op: 'value', value: decisive }
  }
  const open = parts.filter((part) => !(part.op === 'value' && part.value === !decisive))
  if (open.length === 0) return { op: 'value', value: !decisive }
  if (open.every((part) => part.op === 'value')) return { op: 'value', value: null }
  return open.length === 1 ? open[0]! : { op, of: open }
}
