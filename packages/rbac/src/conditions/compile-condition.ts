/** Compiles conditions to closures. No code is generated from text. */
import { isExact, readerOf, type AttributeType, type Normal } from '../attributes/attributes.ts'
import { compileReader, type DecisionContext } from './context.ts'
import type { Node, Sign, Term, Truth } from './nodes.ts'

/** A compiled condition. */
export type Evaluate = (context: DecisionContext) => Truth

type Read = (context: DecisionContext) => Normal | undefined

/**
 * Compiles a condition. The result throws if an accessor of the resource throws; call it through
 * {@link evaluateSafely}.
 */
export function compileCondition(node: Node): Evaluate {
  switch (node.op) {
    case 'and':
      return compileAnd(node.of.map(compileCondition))
    case 'or':
      return compileOr(node.of.map(compileCondition))
    case 'not': {
      const inner = compileCondition(node.of)
      return (context) => {
        const truth = inner(context)
        return truth === null ? null : !truth
      }
    }
    case 'value': {
      const { value } = node
      return () => value
    }
    case 'exists': {
      const read = compileReader(node.left)
      return (context) => read(context) !== undefined
    }
    case 'test': {
      const read = compileTerm(node.left)
      const { test } = node
      return (context) => {
        const value = read(context)
        return value === undefined ? null : test(value)
      }
    }
    case 'in':
      return compileIn(node.left, node.right)
    case 'sets':
    case 'prefix':
      return compilePair(pairTests[node.op === 'sets' ? node.mode : prefixName(node)], node)
    case 'related': {
      const { plan } = node
      const read = compileTerm(node.left)
      return (context) => {
        const id = read(context)
        return id === undefined ? null : (context.related?.of(plan, String(id)) ?? null)
      }
    }
    case 'compare':
      break
  }
  return node.sign === 'eq'
    ? compileEqual(node.left, node.right)
    : compileComparison(node.sign, compileTerm(node.left), compileTerm(node.right))
}

/** Evaluates a condition. If it throws, it is unknown, so a grant fails and a deny rule applies. */
export function evaluateSafely(evaluate: Evaluate, context: DecisionContext): Truth {
  try {
    return evaluate(context)
  } catch {
    return null
  }
}

const comparisons: Readonly<Record<Sign, (left: Normal, right: Normal) => boolean>> = {
  eq: (left, right) => left === right,
  ne: (left, right) => left !== right,
  lt: (left, right) => left < right,
  lte: (left, right) => left <= right,
  gt: (left, right) => left > right,
  gte: (left, right) => left >= right,
}

/** Membership as in SQL: if a list has members of another type, "not found" is unknown. */
function isMember(list: readonly unknown[], value: Normal): Truth {
  if (list.includes(value)) return true
  return list.every((entry) => typeof entry === typeof value) ? false : null
}

function compileAnd(parts: readonly Evaluate[]): Evaluate {
  const [first, second] = parts
  if (parts.length === 2 && first !== undefined && second !== undefined) {
    return (context) => {
      const left = first(context)
      if (left === false) return false
      const right = second(context)
      return right === false ? false : left === null ? null : right
    }
  }
  return (context) => {
    let truth: Truth = true
    for (const part of parts) {
      const each = part(context)
      if (each === false) return false
      if (each === null) truth = null
    }
    return truth
  }
}

function compileOr(parts: readonly Evaluate[]): Evaluate {
  const [first, second] = parts
  if (parts.length === 2 && first !== undefined && second !== undefined) {
    return (context) => {
      const left = first(context)
      if (left === true) return true
      const right = second(context)
      return right === true ? true : left === null ? null : right
    }
  }
  return (context) => {
    let truth: Truth = false
    for (const part of parts) {
      const each = part(context)
      if (each === true) return true
      if (each === null) truth = null
    }
    return truth
  }
}

function compileTerm(term: Term): Read {
  if (term.kind === 'ref') return compileReader(term)
  const { value } = term
  return () => value
}

/** The most common comparison: this form saves a call if one side is a constant. */
function compileEqual(leftTerm: Term, rightTerm: Term): Evaluate {
  const left = compileTerm(leftTerm)
  if (rightTerm.kind === 'literal') {
    const { value } = rightTerm
    return (context) => {
      const found = left(context)
      return found === undefined ? null : found === value
    }
  }
  const right = compileTerm(rightTerm)
  return (context) => {
    const a = left(context)
    if (a === undefined) return null
    const b = right(context)
    return b === undefined ? null : a === b
  }
}

function compileIn(leftTerm: Term, rightTerm: Term): Evaluate {
  const left = compileTerm(leftTerm)
  if (rightTerm.kind === 'literal') {
    const values = new Set(rightTerm.value as readonly unknown[])
    return (context) => {
      const value = left(context)
      return value === undefined ? null : values.has(value)
    }
  }
  const right = compileTerm(rightTerm)
  return (context) => {
    const value = left(context)
    const list = right(context)
    if (value === undefined || list === undefined) return null
    return isMember(membersOf(list as readonly unknown[], leftTerm.type), value)
  }
}

const pairTests = {
  any: (left: never, right: never) => haveCommonMember(left, right),
  all: (left: never, right: never) => hasAllMembers(left, right),
  startsWith: (left: never, right: never) => hasPrefix(left, right),
  under: (left: never, right: never) => hasPrefix(`${left as string}/`, directoryOf(right)),
} as const

function prefixName({ isPath }: Extract<Node, { op: 'prefix' }>): 'under' | 'startsWith' {
  return isPath ? 'under' : 'startsWith'
}

function compilePair(
  test: (left: never, right: never) => Truth,
  sides: { readonly left: Term; readonly right: Term },
): Evaluate {
  const left = compileTerm(sides.left)
  const right = compileTerm(sides.right)
  return (context) => {
    const a = left(context)
    const b = right(context)
    return a === undefined || b === undefined ? null : test(a as never, b as never)
  }
}

/** As `isMember`: if a list has members of another type, a negative answer is unknown. */
function haveCommonMember(left: readonly unknown[], right: readonly unknown[]): Truth {
  const members = new Set(left)
  if (right.some((each) => typeof each === 'string' && members.has(each))) return true
  return left.every(isText) && right.every(isText) ? false : null
}

function hasAllMembers(left: readonly unknown[], right: readonly unknown[]): Truth {
  const members = new Set(left)
  let truth: Truth = true
  for (const each of right) {
    if (isText(each) && members.has(each)) continue
    if (isText(each) && left.every(isText)) return false
    truth = null
  }
  return truth
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

/** A prefix that ends inside a surrogate pair is no prefix for a database. */
function hasPrefix(text: string, prefix: string): boolean {
  return prefix.isWellFormed() && text.startsWith(prefix)
}

/** `/a` and `/a/` are the same directory. */
export function directoryOf(path: string): string {
  return path.endsWith('/') ? path : `${path}/`
}

/** Reads the members of a list as the exact type that they are compared with. */
export function membersOf(list: readonly unknown[], type: AttributeType): readonly unknown[] {
  return isExact(type) ? list.map(readerOf(type)) : list
}

function compileComparison(sign: Sign, left: Read, right: Read): Evaluate {
  const compare = comparisons[sign]
  return (context) => {
    const a = left(context)
    const b = right(context)
    return a === undefined || b === undefined ? null : compare(a, b)
  }
}
