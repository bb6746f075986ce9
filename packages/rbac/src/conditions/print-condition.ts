/** Prints a condition for people. */
import type { Literal, Node, Reference, Term } from './nodes.ts'

const SIGNS = { eq: '=', ne: '≠', lt: '<', lte: '≤', gt: '>', gte: '≥' } as const

/** Prints a condition. @param valueOf returns text to append to an attribute, such as its value. */
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
