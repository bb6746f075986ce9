/** Resolves a stored condition: looks up and types every attribute, normalizes every constant. */
import { isExact, readerOf, type AttributeType, type Normal } from '../attributes/attributes.ts'
import { createAddressTest, readAddress } from './address.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'
import type { Comparison, Condition, Operand, PairOperator, Ref, TimeWindow } from './condition.ts'
import type { Literal, Node, Reference, Root, Term, Truth } from './nodes.ts'
import { createTimeWindow } from './time-window.ts'

/** What a policy declares; `undefined`: it does not. */
export interface Declared {
  /** Returns the type of an attribute. */
  readonly typeOf: (root: string, name: string) => AttributeType | undefined
  /** Returns the plan of a relation such as `document#viewer`. */
  readonly planOf: (relation: string) => RelationPlan | undefined
}

const ROOTS: readonly string[] = ['subject', 'resource', 'environment', 'fact'] satisfies Root[]
const ORDERED: readonly AttributeType[] = ['number', 'time', 'bigint', 'decimal', 'date']
const OBJECT_IDS: readonly AttributeType[] = ['string', 'uuid', 'bigint']
const MAX_DEPTH = 32
const MS_PER_HOUR = 3_600_000
const HOURS_PER_WEEK = 168
type AnyComparison = Comparison | PairOperator

/** Resolves a condition. @param fault receives every problem of the condition. */
export function resolveCondition(
  condition: Condition,
  declared: Declared,
  fault: (problem: string) => void,
  depth = 0,
): Node {
  const never: Node = { op: 'value', value: null }
  if (depth > MAX_DEPTH) {
    fault(`nests conditions more than ${MAX_DEPTH} levels deep`)
    return never
  }
  const inner = (of: Condition): Node => resolveCondition(of, declared, fault, depth + 1)
  if (condition.op === 'and' || condition.op === 'or') {
    return { op: condition.op, of: condition.of.map(inner) }
  }
  if (condition.op === 'not') return { op: 'not', of: inner(condition.of) }
  if (condition.op === 'exists' || condition.op === 'cidr' || condition.op === 'during') {
    const left = resolveRef(condition.left, declared, fault)
    return left === null ? never : resolveTest(condition, left, fault)
  }
  if (condition.op === 'related') return resolveRelated(condition, declared, fault) ?? never
  const sides = resolveSides(condition, declared, fault)
  if (sides === null) return never
  switch (condition.op) {
    case 'in':
      return { op: 'in', ...sides }
    case 'containsAny':
    case 'containsAll':
      return { op: 'sets', mode: condition.op === 'containsAny' ? 'any' : 'all', ...sides }
    case 'startsWith':
    case 'under':
      return { op: 'prefix', isPath: condition.op === 'under', ...sides }
    case 'eq':
    case 'ne':
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      break
  }
  return { op: 'compare', sign: condition.op, ...sides }
}

function resolveRelated(
  { relation, left }: Extract<Condition, { op: 'related' }>,
  declared: Declared,
  fault: (problem: string) => void,
): Node | null {
  const object = resolveRef(left, declared, fault)
  const plan = declared.planOf(relation)
  if (plan === undefined)
    fault(`related uses the relation "${relation}", which the policy does not declare`)
  if (object === null || plan === undefined) return null
  if (!OBJECT_IDS.includes(object.type) || object.root === 'fact') {
    fault(
      `related needs the id of an object, of type ${OBJECT_IDS.join(', ')} and not a fact, got ${show(object)}`,
    )
    return null
  }
  return { op: 'related', plan, left: object }
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
    if (condition.op === 'cidr') {
      const { blocks } = condition
      const samples = [...blocks.map((block) => block.split('/', 1)[0]), '203.0.113.77']
      const test = createAddressTest(blocks)
      return { op: 'test', left, test, text: `in ${blocks.join(', ')}`, samples }
    }
    const test = createTimeWindow(condition) as (value: Normal) => Truth
    return { op: 'test', left, test, text: describeWindow(condition), samples: samplesOf(test) }
  } catch (error) {
    fault(`${condition.op}: ${(error as Error).message}`)
    return { op: 'value', value: null }
  }
}

/** A time inside and one outside, of the hours of a week. */
function samplesOf(test: (value: Normal) => Truth): readonly number[] {
  const hours = Array.from({ length: HOURS_PER_WEEK }, (_, hour) => hour * MS_PER_HOUR)
  return [true, false].flatMap((truth) => hours.find((hour) => test(hour) === truth) ?? [])
}

function describeWindow({ from, until, days, timeZone }: TimeWindow): string {
  return `during ${from}-${until} on ${days.join(', ')} (${timeZone})`
}

function resolveSides(
  condition: { op: AnyComparison; left: Operand; right: Operand },
  declared: Declared,
  fault: (problem: string) => void,
): { left: Term; right: Term } | null {
  const { op } = condition
  const refs = [condition.left, condition.right].map((side) =>
    'ref' in side ? resolveRef(side, declared, fault) : undefined,
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
  op: AnyComparison,
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
  op: AnyComparison,
  left: Reference | undefined,
  right: Reference | undefined,
): { left: AttributeType; right: AttributeType } {
  if (op === 'containsAny' || op === 'containsAll') return { left: 'string[]', right: 'string[]' }
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

function agree(op: AnyComparison, left: Term, right: Term): boolean {
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
  if (op === 'containsAny' || op === 'containsAll') {
    return left.type === 'string[]' && right.type === 'string[]'
  }
  if (op === 'startsWith' || op === 'under') {
    return left.type === 'string' && right.type === 'string'
  }
  if (left.type !== right.type || left.type === 'string[]') return false
  return op === 'eq' || op === 'ne' || ORDERED.includes(left.type)
}

function resolveRef(
  { ref, plusMs }: Ref,
  { typeOf }: Declared,
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
  const reference = { kind: 'ref', root: root as Root, name, type } as const
  if (plusMs === undefined) return reference
  if (type !== 'time' || root === 'resource') {
    fault(`plus can move a time that is not of the resource, got ${show(reference)}`)
  }
  return { ...reference, plusMs }
}

function show(term: Reference | null): string {
  return term === null ? 'a constant of another type' : `${term.root}.${term.name} (${term.type})`
}
