/** Resolves a stored condition: looks up and types every attribute, normalizes every constant. */
import { isExact, readerOf, type AttributeType, type Normal } from '../attributes/attributes.ts'
import { createAddressTest, readAddress } from './address.ts'
import type { Comparison, Condition, Operand, TimeWindow } from './condition.ts'
import type { Literal, Node, Reference, Root, Term, Truth } from './nodes.ts'
import { createTimeWindow } from './time-window.ts'

/** Returns the type of an attribute, or `undefined` if the policy does not declare it. */
export type TypeLookup = (root: string, name: string) => AttributeType | undefined

const ROOTS: readonly string[] = ['subject', 'resource', 'environment', 'fact'] satisfies Root[]
const ORDERED: readonly AttributeType[] = ['number', 'time', 'bigint', 'decimal', 'date']
const MAX_DEPTH = 32

/** Resolves a condition. @param fault receives every problem of the condition. */
export function resolveCondition(
  condition: Condition,
  typeOf: TypeLookup,
  fault: (problem: string) => void,
  depth = 0,
): Node {
  const never: Node = { op: 'value', value: null }
  if (depth > MAX_DEPTH) {
    fault(`nests conditions more than ${MAX_DEPTH} levels deep`)
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
  if (left.type !== wanted)
    fault(`${condition.op} needs an attribute of type ${wanted}, got ${show(left)}`)
  // PostgreSQL reads addresses and time zones differently: a filter would disagree with a check.
  if (left.root === 'resource')
    fault(`${condition.op} cannot test an attribute of the resource, got ${show(left)}`)
  try {
    const [test, text] =
      condition.op === 'cidr'
        ? [createAddressTest(condition.blocks), `in ${condition.blocks.join(', ')}`]
        : [createTimeWindow(condition), describeWindow(condition)]
    return { op: 'test', left, test: test as (value: Normal) => Truth, text }
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
  const [left, right] = convertPair(op, refs as [Reference | undefined, Reference | undefined])
  const known = left ?? right
  if (known === undefined) {
    fault(`${op} compares two constants; one side must be an attribute`)
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
  if (isAddress(known)) {
    const constants = [sides.left, sides.right].flatMap(constantsOf)
    const wrong = constants.find((each) => readAddress(each) !== each)
    if (wrong !== undefined)
      fault(`${op} compares ${show(known)} with the constant ${describeAddress(wrong)}`)
  }
  return sides as { left: Term; right: Term }
}

function isAddress({ root, name }: Reference): boolean {
  return root === 'environment' && name === 'ip'
}

function constantsOf(term: Term): readonly unknown[] {
  return term.kind === 'literal' ? [term.value].flat() : []
}

function describeAddress(value: unknown): string {
  const canonical = readAddress(value)
  const advice = canonical === undefined ? 'which is no address' : `write "${canonical}"`
  return `${JSON.stringify(value)}, but reads it in its canonical form: ${advice}`
}

/**
 * Reads an attribute of type `string` or `number` as the exact type on the other side. One of the
 * resource is not converted: the database would compare two columns of different types.
 */
function convertPair(
  op: Comparison,
  [left, right]: [Reference | undefined, Reference | undefined],
): [Reference | undefined, Reference | undefined] {
  if (left === undefined || right === undefined || op === 'in') return [left, right]
  return [convert(left, right), convert(right, left)]
}

function convert(ref: Reference, { type }: Reference): Reference {
  const isConvertible = ref.type === 'string' || ref.type === 'number'
  return isExact(type) && ref.root !== 'resource' && isConvertible ? { ...ref, type } : ref
}

/** Returns the type that a constant must have, given the attribute on the other side. */
function sideTypes(
  op: Comparison,
  left: Reference | undefined,
  right: Reference | undefined,
): { left: AttributeType; right: AttributeType } {
  if (op !== 'in') {
    const type = (left ?? right)!.type
    return { left: type, right: type }
  }
  const member = left?.type ?? 'string'
  return { left: 'string', right: member === 'string' ? 'string[]' : member }
}

/** Reads a constant. Returns `null` if it does not have the type. */
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
    const isConstantList = right.kind === 'literal' && Array.isArray(right.value)
    if (left.type === 'number') return isConstantList
    if (isExact(left.type)) {
      // A list of the resource would have to be converted row by row.
      const isList =
        right.type === 'string[]' && !(right.kind === 'ref' && right.root === 'resource')
      return isConstantList || isList
    }
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
    fault(`uses the attribute "${ref}", which the policy does not declare`)
    return null
  }
  return { kind: 'ref', root: root as Root, name, type }
}

function show(term: Reference | null): string {
  return term === null ? 'a constant of another type' : `${term.root}.${term.name} (${term.type})`
}
