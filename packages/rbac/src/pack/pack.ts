/** What a page needs to show or hide controls: the rights of one principal, as JSON. */
import type { AttributeType } from '../attributes/attributes.ts'
import type { Node, Reference, Term } from '../conditions/nodes.ts'
import type { Residual } from '../decide/filter.ts'

/** An attribute of the resource, with the letter of its type, or a constant. */
type PackTerm = readonly [type: PackType, ...path: string[]] | { readonly v: unknown }

/** `s` text, `n` number, `b` boolean, `l` list of texts, `u` UUID. */
type PackType = 's' | 'n' | 'b' | 'l' | 'u'

/** A condition on the resource. `null` is unknown. */
type PackNode =
  | boolean
  | null
  | readonly ['&' | '|', ...PackNode[]]
  | readonly ['!', PackNode]
  | readonly ['e', PackTerm]
  | readonly [PackOperator, PackTerm, PackTerm]

/** Comparisons, `in`, lists with any or all of a list, prefixes and paths. */
type PackOperator = '=' | '#' | '<' | '[' | '>' | ']' | 'in' | 'any' | 'all' | 'pre' | 'dir'

/** The rights of one principal for a short time. It reveals its conditions, but not the policy. */
export interface Pack {
  readonly v: 1
  /** Until when it may be used, in milliseconds since the Unix epoch. */
  readonly exp: number
  /** Permissions that need no resource. */
  readonly yes: readonly string[]
  /** By permission: any of these conditions must be true, and all of those false. */
  readonly if: Readonly<
    Record<string, { readonly any: readonly PackNode[]; readonly not: readonly PackNode[] }>
  >
}

const TYPES: Partial<Record<AttributeType, PackType>> = {
  string: 's',
  enum: 's',
  number: 'n',
  boolean: 'b',
  'string[]': 'l',
  uuid: 'u',
}
const SIGNS = { eq: '=', ne: '#', lt: '<', lte: '[', gt: '>', gte: ']' } as const

/** Packs what remains of a rule once everything but the resource is known. */
export function packRule({ grants, denies }: Residual): Pack['if'][string] | boolean {
  const any = grants.map(packNode).filter((node) => node !== false && node !== null)
  const not = denies.map(packNode).filter((node) => node !== false)
  // A deny rule applies unless it is false.
  if (any.length === 0 || not.some((node) => node === true || node === null)) return false
  return any.includes(true) && not.length === 0 ? true : { any, not }
}

/** What the client cannot evaluate exactly as the server does is unknown. */
function packNode(node: Node): PackNode {
  switch (node.op) {
    case 'and':
    case 'or':
      return [node.op === 'and' ? '&' : '|', ...node.of.map(packNode)]
    case 'not':
      return ['!', packNode(node.of)]
    case 'value':
      return node.value
    case 'exists': {
      const term = packTerm(node.left)
      return term === undefined ? null : ['e', term]
    }
    case 'test':
    case 'related':
      return null
    case 'in':
      return packPair('in', node.left, node.right)
    case 'sets':
      return packPair(node.mode, node.left, node.right)
    case 'prefix':
      return packPair(node.isPath ? 'dir' : 'pre', node.left, node.right)
    case 'compare':
      break
  }
  return packPair(SIGNS[node.sign], node.left, node.right)
}

function packPair(operator: PackOperator, left: Term, right: Term): PackNode {
  const [a, b] = [packTerm(left), packTerm(right)]
  // A list of an exact type would have to be converted member by member.
  const isConverted = operator === 'in' && right.kind === 'ref' && left.type !== 'string'
  return a === undefined || b === undefined || isConverted ? null : [operator, a, b]
}

function packTerm(term: Term): PackTerm | undefined {
  return term.kind === 'literal' ? packLiteral(term.value) : packReference(term)
}

function packReference({ root, name, type }: Reference): PackTerm | undefined {
  const letter = TYPES[type]
  return root === 'resource' && letter !== undefined ? [letter, ...name.split('.')] : undefined
}

/** Only values that JSON repeats exactly. */
function packLiteral(value: unknown): PackTerm | undefined {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value]
  const isExact = values.every(
    (each) =>
      typeof each === 'boolean' ||
      (typeof each === 'string' && each.isWellFormed()) ||
      (typeof each === 'number' && Number.isFinite(each)),
  )
  return isExact ? { v: value } : undefined
}
