/**
 * Which values come from a request. It follows names through declarations, assignments and callbacks
 * of one file, and forgets a value that passes a conversion such as `Number()`.
 */
import { callOf, isFunction, nameOf, nodeAt, nodesAt, unwrap, type Node } from './ast.ts'

type Kind = 'request' | 'value' | 'parameter' | 'clean'

const REQUEST = /^_?(?:req|request)$/
const PARTS = new Set([
  'body',
  'query',
  'params',
  'headers',
  'cookies',
  'url',
  'originalUrl',
  'hostname',
  'host',
  'rawBody',
])
/** What makes a value harmless, or a fact about it. */
const CLEANING =
  /^(?:Number|parseInt|parseFloat|Boolean|BigInt|encodeURIComponent|encodeURI|basename|randomUUID|createHash|isNaN|isInteger|includes|has|hasOwn|test|startsWith|endsWith|indexOf|search|match(?:All)?|getTime)$|escape|sanitiz|saniti[sz]e|validate|(?:^|[a-z])(?:Verify|verify)|hash|quote(?:Ident)?|clean|allow|parse(?:Int|Float|Id|Uuid)/
/** What returns its arguments in another shape. */
const PASSING =
  /^(?:String|decodeURIComponent|decodeURI|join|resolve|normalize|concat|from|assign|stringify|fromEntries|URL|URLSearchParams|format|trim|toString)$|^parse$/

/** The names that one file knows, by function. */
export class Taint {
  readonly #scopes: Map<string, Kind>[] = [new Map<string, Kind>()]

  /** Begins a function. @param call the call that it is an argument of. */
  enter(fn: Node, call: Node | undefined): void {
    const scope = new Map<string, Kind>()
    this.#scopes.push(scope)
    const callee = callOf(call)
    const fromCall = callee?.object !== undefined && this.isTainted(callee.object)
    for (const [index, parameter] of nodesAt(fn, 'params').entries()) {
      const inner =
        parameter.type === 'TSParameterProperty' ? nodeAt(parameter, 'parameter') : parameter
      if (inner === undefined) continue
      if (inner.type === 'Identifier' && REQUEST.test(String(inner['name']))) {
        scope.set(String(inner['name']), 'request')
      } else if (inner.type === 'ObjectPattern' && index === 0 && readsRequest(inner)) {
        this.#bindParts(inner)
      } else this.#bind(inner, fromCall ? 'value' : 'parameter')
    }
  }

  /** Ends a function. */
  leave(): void {
    this.#scopes.pop()
  }

  /** Learns from a declaration, an assignment or a loop. */
  learn(node: Node): void {
    if (node.type === 'VariableDeclarator') {
      const init = nodeAt(node, 'init')
      const id = nodeAt(node, 'id')
      if (id === undefined || init === undefined) return
      if (id.type === 'ObjectPattern' && this.#kindOf(init) === 'request') this.#bindParts(id)
      else this.#bind(id, this.#kindOf(init))
    } else if (node.type === 'AssignmentExpression') {
      const left = nodeAt(node, 'left')
      if (left?.type === 'Identifier') this.#bind(left, this.#kindOf(nodeAt(node, 'right')))
    } else if (node.type === 'ForOfStatement' || node.type === 'ForInStatement') {
      const left = nodeAt(node, 'left')
      const target =
        left?.type === 'VariableDeclaration' ? nodeAt(nodesAt(left, 'declarations')[0], 'id') : left
      if (target !== undefined) this.#bind(target, this.#kindOf(nodeAt(node, 'right')))
    }
  }

  /** Whether a value comes from a request. */
  isTainted(node: Node | undefined): boolean {
    return this.#kindOf(node) === 'value'
  }

  /** Whether a value is the whole body, query or parameters of a request. */
  isWholePart(
    node: Node | undefined,
    parts: readonly string[] = ['body', 'query', 'params'],
  ): boolean {
    const inner = unwrap(node)
    if (inner?.type === 'Identifier') {
      return parts.includes(String(inner['name'])) && this.isTainted(inner)
    }
    if (inner?.type !== 'MemberExpression') return false
    return parts.includes(nameOf(inner)) && this.#isRequest(nodeAt(inner, 'object'))
  }

  /** Whether a value is a parameter of a function, which its caller may take from a request. */
  isParameter(node: Node | undefined): boolean {
    return this.#kindOf(node) === 'parameter'
  }

  /** The names in a value that come from a request. */
  namesIn(node: Node | undefined): string[] {
    const inner = unwrap(node)
    if (inner === undefined) return []
    if (inner.type === 'Identifier') return [String(inner['name'])]
    if (inner.type === 'MemberExpression') {
      return [nameOf(inner), ...this.namesIn(nodeAt(inner, 'object'))]
    }
    if (inner.type === 'TemplateLiteral') {
      return nodesAt(inner, 'expressions').flatMap((each) => this.namesIn(each))
    }
    return ['left', 'right', 'argument'].flatMap((member) => this.namesIn(nodeAt(inner, member)))
  }

  #isRequest(node: Node | undefined): boolean {
    const inner = unwrap(node)
    if (inner?.type === 'Identifier') {
      const name = String(inner['name'])
      return this.#find(name) === 'request' || REQUEST.test(name)
    }
    return inner?.type === 'MemberExpression' && ['raw', 'request', 'req'].includes(nameOf(inner))
  }

  #kindOf(node: Node | undefined): Kind {
    const inner = unwrap(node)
    if (inner === undefined) return 'clean'
    switch (inner.type) {
      case 'Identifier': {
        const name = String(inner['name'])
        return this.#find(name) ?? (REQUEST.test(name) ? 'request' : 'clean')
      }
      case 'MemberExpression': {
        const object = nodeAt(inner, 'object')
        if (this.#isRequest(object)) return PARTS.has(nameOf(inner)) ? 'value' : 'clean'
        if (nameOf(inner) === 'length') return 'clean'
        const kind = this.#kindOf(object)
        return kind === 'request' ? 'clean' : kind
      }
      case 'CallExpression':
      case 'NewExpression':
        return this.#kindOfCall(inner)
      case 'TemplateLiteral':
        return this.#worst(nodesAt(inner, 'expressions'))
      case 'BinaryExpression':
        return inner['operator'] === '+' ? this.#worstOf(inner, 'left', 'right') : 'clean'
      case 'LogicalExpression':
        return this.#worstOf(inner, 'left', 'right')
      case 'ConditionalExpression':
        return this.#worstOf(inner, 'consequent', 'alternate')
      case 'ArrayExpression':
        return this.#worst(nodesAt(inner, 'elements'))
      case 'ObjectExpression':
        return this.#worst(
          nodesAt(inner, 'properties').flatMap(
            (each) => nodeAt(each, 'value') ?? nodeAt(each, 'argument') ?? [],
          ),
        )
      case 'AssignmentExpression':
        return this.#kindOf(nodeAt(inner, 'right'))
      default:
        return 'clean'
    }
  }

  #kindOfCall(node: Node): Kind {
    const call = callOf(node)
    if (call === undefined || CLEANING.test(call.name)) return 'clean'
    const own = call.object === undefined ? 'clean' : this.#kindOf(call.object)
    // A method of a value of the request returns a part of it; a service returns something else.
    if (own === 'value') return 'value'
    return PASSING.test(call.name) ? this.#worst(call.args) : 'clean'
  }

  #worstOf(node: Node, ...members: readonly string[]): Kind {
    return this.#worst(members.flatMap((member) => nodeAt(node, member) ?? []))
  }

  #worst(nodes: readonly Node[]): Kind {
    const kinds = nodes.map((each) => this.#kindOf(each))
    if (kinds.includes('value')) return 'value'
    return kinds.includes('parameter') ? 'parameter' : 'clean'
  }

  #find(name: string): Kind | undefined {
    for (let at = this.#scopes.length - 1; at >= 0; at--) {
      const kind = this.#scopes[at]!.get(name)
      if (kind !== undefined) return kind
    }
    return undefined
  }

  #bind(pattern: Node, kind: Kind): void {
    if (pattern.type === 'Identifier') this.#scopes.at(-1)!.set(String(pattern['name']), kind)
    for (const each of targetsOf(pattern)) this.#bind(each, kind === 'request' ? 'clean' : kind)
  }

  /** `{ body, params: { id } }` of a request. */
  #bindParts(pattern: Node): void {
    for (const property of nodesAt(pattern, 'properties')) {
      const value = nodeAt(property, 'value')
      const kind = PARTS.has(nameOf(nodeAt(property, 'key'))) ? 'value' : 'clean'
      if (value !== undefined) this.#bind(value, kind)
    }
  }
}

/** The nested targets of a pattern. */
function targetsOf(pattern: Node): Node[] {
  switch (pattern.type) {
    case 'ObjectPattern':
      return nodesAt(pattern, 'properties').flatMap(
        (each) => nodeAt(each, 'value') ?? nodeAt(each, 'argument') ?? [],
      )
    case 'ArrayPattern':
      return [...nodesAt(pattern, 'elements')]
    case 'AssignmentPattern':
      return [nodeAt(pattern, 'left')].filter((each) => each !== undefined)
    case 'RestElement':
      return [nodeAt(pattern, 'argument')].filter((each) => each !== undefined)
    default:
      return []
  }
}

function readsRequest(pattern: Node): boolean {
  const names = nodesAt(pattern, 'properties').map((each) => nameOf(nodeAt(each, 'key')))
  return names.some((name) => ['body', 'query', 'params', 'headers', 'cookies'].includes(name))
}

/** The function or the call that a node belongs to most closely. */
function enclosing(
  ancestors: readonly Node[],
  isWanted: (node: Node) => boolean,
): Node | undefined {
  return ancestors.findLast(isWanted)
}

/** The function that a node belongs to. */
export function functionOf(ancestors: readonly Node[]): Node | undefined {
  return enclosing(ancestors, isFunction)
}
