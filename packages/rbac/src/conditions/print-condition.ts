/** Prints a condition for people. */
import { printValue, type Normal } from '../attributes/attributes.ts'
import type { Literal, Node, Reference, Term } from './nodes.ts'

const SIGNS = { eq: '=', ne: '≠', lt: '<', lte: '≤', gt: '>', gte: '≥' } as const

/** Prints a condition. @param valueOf returns text to append to an attribute, such as its value. */
export function printNode(node: Node, valueOf: (ref: Reference) => string = () => ''): string {
  const term = (side: Term): string =>
    side.kind === 'literal'
      ? printValue(side.type, side.value)
      : `${side.root}.${side.name}${printShift(side)}${valueOf(side)}`
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
      return `${term(node.left)} in ${node.right.kind === 'literal' ? printList(node.right, node.left) : term(node.right)}`
    case 'sets':
      return `${term(node.left)} contains ${node.mode === 'any' ? 'any' : 'all'} of ${term(node.right)}`
    case 'prefix':
      return `${term(node.left)} ${node.isPath ? 'is under' : 'starts with'} ${term(node.right)}`
    case 'related':
      return `subject is ${node.plan.relation} of ${node.plan.type} ${term(node.left)}`
    case 'compare':
      break
  }
  return `${term(node.left)} ${SIGNS[node.sign]} ${term(node.right)}`
}

function printShift({ plusMs }: Reference): string {
  return plusMs === undefined ? '' : ` ${plusMs < 0 ? '-' : '+'} ${Math.abs(plusMs)} ms`
}

/** The members of a list have the type of the attribute that they are compared with. */
function printList({ value }: Literal, { type }: Term): string {
  const members = value as readonly Normal[]
  return `[${members.map((each) => printValue(type, each)).join(',')}]`
}
