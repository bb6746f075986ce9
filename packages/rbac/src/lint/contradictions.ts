/** Finds conditions that can never be true. It does not find all of them. */
import type { Normal } from '../attributes/attributes.ts'
import type { Literal, Node, Reference, Sign, Term } from '../conditions/nodes.ts'
import { printNode } from '../conditions/print-condition.ts'

/** The values that an attribute can have if all tests so far are true. */
interface Range {
  readonly tests: string[]
  values: readonly unknown[] | undefined
  readonly excluded: unknown[]
  low: Normal | undefined
  high: Normal | undefined
  /** Whether the limits themselves are outside. */
  lowOpen: boolean
  highOpen: boolean
}

/** Returns why a condition can never be true, or `undefined` if that is not known. */
export function contradictionIn(node: Node): string | undefined {
  if (node.op === 'or') {
    const reasons = node.of.map(contradictionIn)
    return reasons.every((each) => each !== undefined) ? reasons[0] : undefined
  }
  const parts = flatten(node)
  const nested = parts.filter((part) => part.op === 'or').map(contradictionIn)
  const texts = new Set(parts.map((part) => printNode(part)))
  const negated = parts.find((part) => part.op === 'not' && texts.has(printNode(part.of)))
  if (negated !== undefined) return `requires "${printNode(negated)}" and its opposite`
  return nested.find((each) => each !== undefined) ?? emptyRangeIn(parts)
}

function flatten(node: Node): readonly Node[] {
  return node.op === 'and' ? node.of.flatMap(flatten) : [node]
}

function emptyRangeIn(parts: readonly Node[]): string | undefined {
  const ranges = new Map<string, Range>()
  for (const part of parts) {
    const test = readTest(part)
    if (test === undefined) continue
    const { ref, literal, sign } = test
    const name = `${ref.root}.${ref.name}`
    const range = ranges.get(name) ?? newRange()
    ranges.set(name, range)
    range.tests.push(printNode(part))
    narrow(range, sign, literal.value)
    if (isEmpty(range)) return `requires ${range.tests.join(' and ')}`
  }
  return undefined
}

/** Reads a comparison of an attribute with a constant. */
function readTest(node: Node): { ref: Reference; literal: Literal; sign: Sign | 'in' } | undefined {
  if (node.op === 'in') return pair(node.left, node.right, 'in')
  if (node.op !== 'compare') return undefined
  return pair(node.left, node.right, node.sign) ?? pair(node.right, node.left, MIRRORED[node.sign])
}

const MIRRORED = { eq: 'eq', ne: 'ne', lt: 'gt', lte: 'gte', gt: 'lt', gte: 'lte' } as const

function pair(left: Term, right: Term, sign: Sign | 'in') {
  return left.kind === 'ref' && right.kind === 'literal'
    ? { ref: left, literal: right, sign }
    : undefined
}

function newRange(): Range {
  return {
    tests: [],
    values: undefined,
    excluded: [],
    low: undefined,
    high: undefined,
    lowOpen: false,
    highOpen: false,
  }
}

function narrow(range: Range, sign: Sign | 'in', value: Normal): void {
  if (sign === 'ne') range.excluded.push(value)
  else if (sign === 'eq' || sign === 'in') {
    const allowed: readonly unknown[] = sign === 'in' ? (value as readonly unknown[]) : [value]
    range.values = range.values?.filter((each) => allowed.includes(each)) ?? allowed
  } else if (sign === 'gt' || sign === 'gte') {
    if (range.low !== undefined && range.low > value) return
    range.lowOpen = sign === 'gt' || (range.low === value && range.lowOpen)
    range.low = value
  } else {
    if (range.high !== undefined && range.high < value) return
    range.highOpen = sign === 'lt' || (range.high === value && range.highOpen)
    range.high = value
  }
}

function isEmpty({ values, excluded, low, high, lowOpen, highOpen }: Range): boolean {
  const isInside = (value: Normal): boolean =>
    (low === undefined || value > low || (value === low && !lowOpen)) &&
    (high === undefined || value < high || (value === high && !highOpen))
  if (values !== undefined) {
    return !values.some((each) => !excluded.includes(each) && isInside(each as Normal))
  }
  if (low === undefined || high === undefined) return false
  return low > high || (low === high && (lowOpen || highOpen))
}
