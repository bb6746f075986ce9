/** The syntax tree as the rules read it. */

/** A node of ESTree; its members depend on its type. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [member: string]: unknown
}

/** Whether a value is a node. */
export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string'
}

/** The child nodes in the order of the source. */
export function childrenOf(node: Node): Node[] {
  const children: Node[] = []
  for (const key in node) {
    if (key === 'parent') continue
    const value = node[key]
    if (isNode(value)) children.push(value)
    else if (Array.isArray(value)) children.push(...value.filter(isNode))
  }
  return children
}

/** A member of a node that is a node. */
export function nodeAt(node: Node | undefined, member: string): Node | undefined {
  const value = node?.[member]
  return isNode(value) ? value : undefined
}

/** A member of a node that is a list of nodes. */
export function nodesAt(node: Node | undefined, member: string): readonly Node[] {
  const value = node?.[member]
  return Array.isArray(value) ? value.filter(isNode) : []
}

/** What TypeScript, `await`, `?.` and parentheses wrap. */
export function unwrap(node: Node | undefined): Node | undefined {
  let at = node
  while (at !== undefined) {
    switch (at.type) {
      case 'AwaitExpression':
      case 'SpreadElement':
        at = nodeAt(at, 'argument')
        break
      case 'TSAsExpression':
      case 'TSSatisfiesExpression':
      case 'TSNonNullExpression':
      case 'TSTypeAssertion':
      case 'ChainExpression':
      case 'ParenthesizedExpression':
        at = nodeAt(at, 'expression')
        break
      default:
        return at
    }
  }
  return undefined
}

/** The text of a string literal or of a template without values. */
export function stringOf(node: Node | undefined): string | undefined {
  const inner = unwrap(node)
  if (inner?.type === 'Literal' && typeof inner['value'] === 'string') return inner['value']
  if (inner?.type === 'TemplateLiteral' && nodesAt(inner, 'expressions').length === 0) {
    return cookedOf(nodesAt(inner, 'quasis')[0])
  }
  return undefined
}

/** The value of a literal that is a number or a boolean. */
export function plainValueOf(node: Node | undefined): unknown {
  const inner = unwrap(node)
  if (inner?.type === 'Literal') return inner['value']
  if (inner?.type === 'UnaryExpression' && inner['operator'] === '!') {
    return plainValueOf(nodeAt(inner, 'argument')) === 0
  }
  return undefined
}

/** The text of a part of a template. */
function cookedOf(quasi: Node | undefined): string {
  const value = quasi?.['value'] as { cooked?: string | null; raw?: string } | undefined
  return value?.cooked ?? value?.raw ?? ''
}

/** The name of an identifier, of a member that is not computed, or of a key. */
export function nameOf(node: Node | undefined): string {
  const inner = unwrap(node)
  if (inner === undefined) return ''
  if (inner.type === 'Identifier' || inner.type === 'PrivateIdentifier')
    return String(inner['name'])
  if (inner.type === 'Literal') return String(inner['value'])
  if (inner.type === 'MemberExpression') {
    const property = nodeAt(inner, 'property')
    return inner['computed'] === true ? (stringOf(property) ?? '') : nameOf(property)
  }
  return ''
}

/** A dotted path such as `process.env.JWT_SECRET`; an empty text where a part is computed. */
export function pathOf(node: Node | undefined): string {
  const inner = unwrap(node)
  if (inner?.type === 'Identifier') return String(inner['name'])
  if (inner?.type === 'ThisExpression') return 'this'
  if (inner?.type !== 'MemberExpression') return ''
  const object = pathOf(nodeAt(inner, 'object'))
  const name = nameOf(inner)
  return object === '' || name === '' ? '' : `${object}.${name}`
}

/** A call: its callee and its arguments, without what wraps them. */
export interface Call {
  readonly node: Node
  readonly callee: Node
  /** The last name of the callee: `query` of `app.pg.query`. */
  readonly name: string
  /** What the method is called on. */
  readonly object: Node | undefined
  readonly args: readonly Node[]
}

/** Reads a call or a `new`. */
export function callOf(node: Node | undefined): Call | undefined {
  if (node?.type !== 'CallExpression' && node?.type !== 'NewExpression') return undefined
  const callee = unwrap(nodeAt(node, 'callee'))
  if (callee === undefined) return undefined
  const object = callee.type === 'MemberExpression' ? unwrap(nodeAt(callee, 'object')) : undefined
  return { node, callee, name: nameOf(callee), object, args: nodesAt(node, 'arguments') }
}

/** The members of an object literal by name; spreads are left out. */
export function membersOf(node: Node | undefined): ReadonlyMap<string, Node> {
  const inner = unwrap(node)
  const members = new Map<string, Node>()
  if (inner?.type !== 'ObjectExpression') return members
  for (const property of nodesAt(inner, 'properties')) {
    const value = nodeAt(property, 'value')
    if (property.type !== 'Property' || value === undefined) continue
    const key = nodeAt(property, 'key')
    const name = property['computed'] === true ? stringOf(key) : nameOf(key)
    if (name !== undefined && name !== '') members.set(name, value)
  }
  return members
}

/** The fixed parts of a text and the values between them, of a template or of `+`. */
export interface TextParts {
  readonly fixed: string
  readonly first: string
  readonly values: readonly Node[]
}

/** Takes a text apart; `undefined`: the node is no text with values. */
export function textPartsOf(node: Node | undefined): TextParts | undefined {
  const inner = unwrap(node)
  if (inner?.type === 'TemplateLiteral') {
    const quasis = nodesAt(inner, 'quasis').map(cookedOf)
    return {
      fixed: quasis.join(' ? '),
      first: quasis[0] ?? '',
      values: nodesAt(inner, 'expressions'),
    }
  }
  if (inner?.type !== 'BinaryExpression' || inner['operator'] !== '+') return undefined
  const values: Node[] = []
  const texts: string[] = []
  let first: string | undefined
  const collect = (part: Node | undefined): void => {
    const each = unwrap(part)
    if (each === undefined) return
    if (each.type === 'BinaryExpression' && each['operator'] === '+') {
      collect(nodeAt(each, 'left'))
      collect(nodeAt(each, 'right'))
      return
    }
    const text = stringOf(each)
    first ??= text ?? ''
    if (text !== undefined) texts.push(text)
    else {
      const nested = textPartsOf(each)
      texts.push(nested?.fixed ?? ' ? ')
      values.push(...(nested?.values ?? [each]))
    }
  }
  collect(inner)
  return { fixed: texts.join(''), first: first ?? '', values }
}

/** Whether a node is a function. */
export function isFunction(node: Node | undefined): boolean {
  return (
    node?.type === 'ArrowFunctionExpression' ||
    node?.type === 'FunctionExpression' ||
    node?.type === 'FunctionDeclaration'
  )
}
