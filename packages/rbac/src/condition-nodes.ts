/** Conditions made ready: every attribute looked up and typed, every constant in its normal form. */
import { createCidrMatcher } from '@parapet/kit'
import { readerOf, type AttributeType, type Normal } from './attributes.ts'
import type { Comparison, Condition, Operand, TimeWindow } from './conditions.ts'
import { createTimeWindow } from './time-window.ts'

/** Where an attribute comes from. */
type Root = 'subject' | 'resource' | 'environment' | 'fact'

/** An attribute of which the policy says the type. */
export interface Reference {
  readonly kind: 'ref'
  readonly root: Root
  readonly name: string
  readonly type: AttributeType
}

/** A constant in its normal form. */
export interface Literal {
  readonly kind: 'literal'
  readonly value: Normal
  readonly type: AttributeType
}

/** One side of a comparison. */
export type Term = Reference | Literal

/** A condition made ready. `value` stands in residual rules, where a part is decided already. */
export type Node =
  | { readonly op: 'and'; readonly of: readonly Node[] }
  | { readonly op: 'or'; readonly of: readonly Node[] }
  | { readonly op: 'not'; readonly of: Node }
  | { readonly op: 'compare'; readonly sign: Sign; readonly left: Term; readonly right: Term }
  | { readonly op: 'in'; readonly left: Term; readonly right: Term }
  | { readonly op: 'exists'; readonly left: Reference }
  | {
      readonly op: 'test'
      readonly left: Term
      readonly test: (value: Normal) => boolean
      readonly text: string
    }
  | { readonly op: 'value'; readonly value: boolean | null }

/** How two values that are there compare. */
export type Sign = Exclude<Comparison, 'in'>

/** The type of an attribute, or `undefined` where the policy does not declare it. */
export type TypeLookup = (root: string, name: string) => AttributeType | undefined

const ROOTS: readonly string[] = ['subject', 'resource', 'environment', 'fact'] satisfies Root[]
const ORDERED: readonly AttributeType[] = ['number', 'time']
const MAX_DEPTH = 32

/** Makes a condition ready. @param fault is told everything that is wrong with it. */
export function resolveCondition(
  condition: Condition,
  typeOf: TypeLookup,
  fault: (problem: string) => void,
  depth = 0,
): Node {
  const never: Node = { op: 'value', value: null }
  if (depth > MAX_DEPTH) {
    fault(`nests conditions deeper than ${MAX_DEPTH}`)
    return never
  }
  const inner = (of: Condition): Node => resolveCondition(of, typeOf, fault, depth + 1)
  if (condition.op === 'and' || condition.op === 'or') {
    return { op: condition.op, of: condition.of.map(inner) }
  }
  if (condition.op === 'not') return { op: 'not', of: inner(condition.of) }
  if (condition.op === 'exists' || condition.op === 'cidr' || condition.op === 'during') {
    const left = resolveRef(condition.left.ref, typeOf, fault)
    return left === null ? never : resolveTest(condition, left, fault)
  }
  const sides = resolveSides(condition, typeOf, fault)
  if (sides === null) return never
  return condition.op === 'in'
    ? { op: 'in', ...sides }
    : { op: 'compare', sign: condition.op, ...sides }
}

function resolveTest(
  condition: Extract<Condition, { op: 'exists' | 'cidr' | 'during' }>,
  left: Reference,
  fault: (problem: string) => void,
): Node {
  if (condition.op === 'exists') return { op: 'exists', left }
  const wanted: AttributeType = condition.op === 'cidr' ? 'string' : 'time'
  if (left.type !== wanted) fault(`${condition.op} needs a ${wanted}, and ${show(left)} is none`)
  // PostgreSQL reads addresses and time zones by rules of its own; a filter would differ from a check.
  if (left.root === 'resource') fault(`${condition.op} cannot look at ${show(left)}`)
  try {
    const [test, text] =
      condition.op === 'cidr'
        ? [createCidrMatcher(condition.blocks), `in ${condition.blocks.join(', ')}`]
        : [createTimeWindow(condition), describeWindow(condition)]
    return { op: 'test', left, test: test as (value: Normal) => boolean, text }
  } catch (error) {
    fault(`${condition.op}: ${(error as Error).message}`)
    return { op: 'value', value: null }
  }
}

function describeWindow({ from, until, days, timeZone }: TimeWindow): string {
  return `during ${from}-${until} on ${days.join(', ')} (${timeZone})`
}

function resolveSides(
  condition: { op: Comparison; left: Operand; right: Operand },
  typeOf: TypeLookup,
  fault: (problem: string) => void,
): { left: Term; right: Term } | null {
  const { op } = condition
  const refs = [condition.left, condition.right].map((side) =>
    'ref' in side ? resolveRef(side.ref, typeOf, fault) : undefined,
  )
  if (refs.includes(null)) return null
  const [left, right] = refs as [Reference | undefined, Reference | undefined]
  const known = left ?? right
  if (known === undefined) {
    fault(`${op} compares two constants`)
    return null
  }
  const types = sideTypes(op, left, right)
  const sides = {
    left: left ?? literal(condition.left, types.left),
    right: right ?? literal(condition.right, types.right),
  }
  if (sides.left === null || sides.right === null || !agree(op, sides.left, sides.right)) {
    fault(`${op} cannot compare ${show(left ?? null)} with ${show(right ?? null)}`)
    return null
  }
  return sides as { left: Term; right: Term }
}

/** What type a constant must have, judged by the attribute on the other side. */
function sideTypes(
  op: Comparison,
  left: Reference | undefined,
  right: Reference | undefined,
): { left: AttributeType; right: AttributeType } {
  if (op !== 'in') {
    const type = (left ?? right)!.type
    return { left: type, right: type }
  }
  return { left: 'string', right: left?.type === 'number' ? 'number' : 'string[]' }
}

/** A list of constants is a literal of the type of its members. */
function literal(side: Operand, type: AttributeType): Literal | null {
  const { value } = side as { readonly value: unknown }
  if (Array.isArray(value)) {
    const member = type === 'string[]' ? 'string' : type
    const list = value.map((entry) => readerOf(member)(entry))
    return list.includes(undefined) ? null : { kind: 'literal', value: list, type: 'string[]' }
  }
  const normal = readerOf(type)(value)
  return normal === undefined ? null : { kind: 'literal', value: normal, type }
}

function agree(op: Comparison, left: Term, right: Term): boolean {
  if (op === 'in') {
    if (left.type === 'number') return right.kind === 'literal' && Array.isArray(right.value)
    return left.type === 'string' && right.type === 'string[]'
  }
  if (left.type !== right.type || left.type === 'string[]') return false
  return op === 'eq' || op === 'ne' || ORDERED.includes(left.type)
}

function resolveRef(
  ref: string,
  typeOf: TypeLookup,
  fault: (problem: string) => void,
): Reference | null {
  const dot = ref.indexOf('.')
  const root = ref.slice(0, Math.max(dot, 0))
  const name = ref.slice(dot + 1)
  const type = ROOTS.includes(root) ? typeOf(root, name) : undefined
  if (type === undefined) {
    fault(`names the attribute "${ref}", which is not declared`)
    return null
  }
  return { kind: 'ref', root: root as Root, name, type }
}

function show(term: Reference | null): string {
  return term === null ? 'a constant of another type' : `${term.root}.${term.name} (${term.type})`
}

const SIGNS = { eq: '=', ne: '≠', lt: '<', lte: '≤', gt: '>', gte: '≥' } as const

/** A condition as a person reads it. @param valueOf adds what an attribute is, where it is known. */
export function printNode(node: Node, valueOf: (ref: Reference) => string = () => ''): string {
  const term = (side: Term): string =>
    side.kind === 'literal' ? showLiteral(side) : `${side.root}.${side.name}${valueOf(side)}`
  switch (node.op) {
    case 'and':
    case 'or':
      return `(${node.of.map((each) => printNode(each, valueOf)).join(` ${node.op} `)})`
    case 'not':
      return `not ${printNode(node.of, valueOf)}`
    case 'exists':
      return `${term(node.left)} exists`
    case 'test':
      return `${term(node.left)} ${node.text}`
    case 'value':
      return node.value === null ? 'unknown' : node.value ? 'always' : 'never'
    case 'in':
      return `${term(node.left)} in ${term(node.right)}`
    case 'compare':
      break
  }
  return `${term(node.left)} ${SIGNS[node.sign]} ${term(node.right)}`
}

function showLiteral({ type, value }: Literal): string {
  if (type === 'time' && Number.isFinite(value)) return new Date(value as number).toISOString()
  return JSON.stringify(value)
}
