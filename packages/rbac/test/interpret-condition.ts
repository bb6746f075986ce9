/** Evaluates conditions by walking their trees: a second implementation to compare the compiled one with. */
import { compileReader, type DecisionContext } from '../src/conditions/context.ts'
import type { Node, Sign, Term, Truth } from '../src/conditions/nodes.ts'

/** Evaluates a condition by walking its tree. */
export function interpretNode(node: Node, context: DecisionContext): Truth {
  switch (node.op) {
    case 'value':
      return node.value
    case 'not': {
      const inner = interpretNode(node.of, context)
      return inner === null ? null : !inner
    }
    case 'and':
    case 'or': {
      const decisive = node.op === 'or'
      let unknown = false
      for (const part of node.of) {
        const truth = interpretNode(part, context)
        if (truth === decisive) return decisive
        unknown ||= truth === null
      }
      return unknown ? null : !decisive
    }
    case 'exists':
      return valueOf(node.left, context) !== undefined
    case 'test': {
      const value = valueOf(node.left, context)
      return value === undefined ? null : node.test(value as never)
    }
    case 'in':
      return interpretIn(valueOf(node.left, context), valueOf(node.right, context))
    case 'sets':
      return interpretSets(node.mode, valueOf(node.left, context), valueOf(node.right, context))
    case 'prefix':
      return interpretPrefix(node.isPath, valueOf(node.left, context), valueOf(node.right, context))
    case 'related': {
      const id = valueOf(node.left, context)
      return id === undefined ? null : (context.related?.of(node.plan, id as string) ?? null)
    }
    case 'compare':
      break
  }
  return interpretComparison(node.sign, valueOf(node.left, context), valueOf(node.right, context))
}

function interpretIn(left: unknown, right: unknown): Truth {
  if (left === undefined || right === undefined) return null
  const list = right as readonly unknown[]
  if (list.some((entry) => entry === left)) return true
  return list.some((entry) => typeof entry !== typeof left) ? null : false
}

/** Membership of every member by itself, combined as `or` and `and` combine conditions. */
function interpretSets(mode: 'any' | 'all', left: unknown, right: unknown): Truth {
  if (left === undefined || right === undefined) return null
  const [list, wanted] = [left as readonly unknown[], right as readonly unknown[]]
  const truths = wanted.map((each) => (typeof each === 'string' ? interpretIn(each, list) : null))
  const decisive = mode === 'any'
  if (truths.includes(decisive)) return decisive
  const isPure = mode === 'all' || list.every((each) => typeof each === 'string')
  return truths.includes(null) || !isPure ? null : !decisive
}

function interpretPrefix(isPath: boolean, left: unknown, right: unknown): Truth {
  if (left === undefined || right === undefined) return null
  const [text, prefix] = [left as string, right as string]
  if (!prefix.isWellFormed()) return false
  if (!isPath) return text.slice(0, prefix.length) === prefix
  const directory = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  return text === directory || text.slice(0, directory.length + 1) === `${directory}/`
}

function interpretComparison(sign: Sign, left: unknown, right: unknown): Truth {
  if (left === undefined || right === undefined) return null
  if (sign === 'eq') return left === right
  if (sign === 'ne') return left !== right
  const [a, b] = [left as number, right as number]
  const strictly = sign.startsWith('l') ? a < b : a > b
  return strictly || (sign.endsWith('e') && a === b)
}

function valueOf(term: Term, context: DecisionContext): unknown {
  return term.kind === 'literal' ? term.value : compileReader(term)(context)
}
