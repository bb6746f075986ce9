/** Secrets that are written in the source, sent to clients, or logged. */
import {
  isFunction,
  membersOf,
  nameOf,
  nodeAt,
  nodesAt,
  pathOf,
  stringOf,
  unwrap,
  type Node,
} from '../ast.ts'
import { review, sure, type Found, type Rule, type Visit } from '../rule.ts'
import { isRandomKey, isSecretName, looksLikeValue, nameFormat } from '../secret-texts.ts'

const hidden = (found: Found): Found => ({ ...found, isSecret: true })

/** The variable, property or parameter that a value is given to, also as a default, in a list or as bytes. */
function receiverOf(ancestors: readonly Node[], node: Node): string {
  const name = namedReceiverOf(ancestors, node)
  // A list of several is a list of words; a list of keys, newest first, is named for one.
  return name.endsWith('s') && ancestors.at(-1)?.type === 'ArrayExpression' ? '' : name
}

function namedReceiverOf(ancestors: readonly Node[], node: Node): string {
  let value = node
  for (const parent of ancestors.toReversed()) {
    switch (parent.type) {
      case 'VariableDeclarator':
        return nameOf(nodeAt(parent, 'id'))
      case 'Property':
        return nodeAt(parent, 'value') === value ? nameOf(nodeAt(parent, 'key')) : ''
      case 'PropertyDefinition':
        return nameOf(nodeAt(parent, 'key'))
      case 'AssignmentExpression':
      case 'AssignmentPattern':
        return nameOf(nodeAt(parent, 'left'))
      case 'ConditionalExpression':
        if (nodeAt(parent, 'test') === value) return ''
        break
      case 'CallExpression':
        if (pathOf(nodeAt(parent, 'callee')) !== 'Buffer.from') return ''
        // The others say how the first one is encoded.
        if (nodesAt(parent, 'arguments')[0] !== value) return ''
        break
      case 'ArrayExpression':
      case 'LogicalExpression':
      case 'ParenthesizedExpression':
      case 'TSAsExpression':
      case 'TSSatisfiesExpression':
        break
      default:
        return ''
    }
    value = parent
  }
  return ''
}

/** Inside a JSON Schema, an example or a text for people, a name is a member and not a secret. */
function isInSchema(ancestors: readonly Node[]): boolean {
  return ancestors.some(
    (each) =>
      each.type === 'Property' &&
      /^(?:properties|schema|examples?|messages?|errors|labels)$/.test(nameOf(nodeAt(each, 'key'))),
  )
}

const literals: Rule = ({ node, ancestors }) => {
  // The rule below finds it.
  if (defaultOf(ancestors.at(-1)) === node) return undefined
  const text =
    node.type === 'Literal' || node.type === 'TemplateLiteral' ? stringOf(node) : undefined
  if (text === undefined) return undefined
  if (nameFormat(text) !== undefined) return hidden(sure('hard-coded-secret'))
  const name = receiverOf(ancestors, node)
  if (name === '' || isInSchema(ancestors)) return undefined
  if (!isRandomKey(name, text) && !(isSecretName(name) && looksLikeValue(text))) return undefined
  // In a filter or a comparison it is data; a secret is configuration.
  return hidden(sure('hard-coded-secret'))
}

/** The variable of the environment that stands before a default. */
function variableOf(node: Node | undefined): string {
  const path = pathOf(nodeAt(node, 'left'))
  return /^(?:process\.)?env\.(\w+)$/.exec(path)?.[1] ?? ''
}

/** The value that is used where a variable of the environment is missing. */
function defaultOf(node: Node | undefined): Node | undefined {
  const isDefault = node?.type === 'LogicalExpression' && node['operator'] !== '&&'
  return isDefault && variableOf(node) !== '' ? nodeAt(node, 'right') : undefined
}

/** `process.env.JWT_SECRET ?? 'changeme'` */
const defaults: Rule = ({ node }) => {
  const value = defaultOf(node)
  const text = stringOf(value)
  if (text === undefined || text === '') return undefined
  const name = variableOf(node)
  const isUrl = /_URL$|_URI$|_DSN$/.test(name) && /:\/\/[^/\s:@]+:[^/\s@]+@/.test(text)
  return isSecretName(name) || isRandomKey(name, text) || isUrl
    ? hidden(sure('secret-default'))
    : undefined
}

/** `request.headers['x-api-key'] === 'k3y…'` */
const compared: Rule = ({ node, taint }) => {
  if (node.type !== 'BinaryExpression' || !/^[!=]==?$/.test(String(node['operator'])))
    return undefined
  const [left, right] = [nodeAt(node, 'left'), nodeAt(node, 'right')]
  const literal = stringOf(left) === undefined ? right : left
  const text = stringOf(literal)?.replace(/^(?:Bearer|Basic|Token)\s+/i, '') ?? ''
  const other = literal === left ? right : left
  const isCredentialName = /(?:token|secret|passw(?:or)?d|api[_-]?key|authorization)$/i
  const isFound =
    /\d/.test(text) &&
    looksLikeValue(text) &&
    taint.isTainted(other) &&
    isCredentialName.test(nameOf(other))
  return isFound ? hidden(sure('hard-coded-secret', literal)) : undefined
}

/** Keys as literals in calls that sign, verify or encrypt. */
const keys: Rule = ({ call, text }) => {
  if (call === undefined) return undefined
  const { name, args, object } = call
  const isJwt = /jwt|jsonwebtoken/i.test(nameOf(object) || pathOf(object))
  const place =
    /^createHmac$|^createCipheriv$|^createDecipheriv$/.test(name) ||
    (isJwt && /^(?:sign|verify)$/.test(name))
      ? 1
      : name === 'createSecretKey'
        ? 0
        : -1
  const key = unwrap(args[place])
  if (key === undefined) return undefined
  const literal =
    stringOf(key) ?? (/^Buffer\.from\(\s*['"`]/.test(text(key)) ? text(key) : undefined)
  return literal === undefined ? undefined : hidden(sure('hard-coded-secret', key))
}

const LOG = /^(?:trace|debug|info|log|warn|error|fatal)$/
const LOG_OBJECT = /(?:^|\.)(?:log|logger|console)$/

/** Whole bodies and headers, or members that are credentials. */
function isCredential({ taint }: Visit, node: Node | undefined): boolean {
  const inner = unwrap(node)
  if (inner === undefined) return false
  if (taint.isWholePart(inner, ['body', 'headers', 'cookies', 'rawBody'])) return true
  switch (inner.type) {
    case 'MemberExpression':
      return (
        taint.isTainted(inner) &&
        /^(?:passw\w*|token|secret|authorization|cookie|otp|code|pin|cvv|card\w*)$/i.test(
          nameOf(inner),
        )
      )
    case 'Identifier':
      return taint.isTainted(inner) && /passw|secret|token/i.test(String(inner['name']))
    default:
      return false
  }
}

const logs: Rule = (visit) => {
  const { call } = visit
  if (call === undefined || !LOG.test(call.name) || !LOG_OBJECT.test(pathOf(call.object)))
    return undefined
  const given = call.args.flatMap((each) => [each, ...partsOf(each)])
  return given.some((each) => isCredential(visit, each)) ? sure('logged-secret') : undefined
}

/** The values in objects, templates, `JSON.stringify` and `+`, two levels deep. */
function partsOf(node: Node | undefined, depth = 0): Node[] {
  const inner = unwrap(node)
  if (inner === undefined || depth > 2) return []
  const direct = [
    ...membersOf(inner).values(),
    ...nodesAt(inner, 'expressions'),
    ...nodesAt(inner, 'properties').filter(({ type }) => type === 'SpreadElement'),
    ...(inner.type === 'CallExpression' ? nodesAt(inner, 'arguments') : []),
    ...(inner.type === 'BinaryExpression'
      ? [nodeAt(inner, 'left'), nodeAt(inner, 'right')].filter((each) => each !== undefined)
      : []),
  ]
  return direct.flatMap((each) => [each, ...partsOf(each, depth + 1)])
}

/** `send(process.env)` */
const environment: Rule = ({ node, ancestors }) => {
  if (pathOf(node) !== 'process.env' || node.type !== 'MemberExpression') return undefined
  const parent = ancestors.at(-1)
  const at = ancestors.at(-2)
  const isValue =
    (parent?.type === 'Property' && nodeAt(parent, 'value') === node) ||
    parent?.type === 'ReturnStatement' ||
    parent?.type === 'SpreadElement' ||
    (parent?.type === 'ArrowFunctionExpression' && nodeAt(parent, 'body') === node) ||
    (parent?.type === 'CallExpression' && nameOf(nodeAt(parent, 'callee')) === 'send')
  if (!isValue) return undefined
  // Settings of a parser of the environment are no response.
  const isHandler = ancestors.some(
    (each) => isFunction(each) && /^(?:_?req|request)$/.test(nameOf(nodesAt(each, 'params')[0])),
  )
  return isHandler || (at?.type === 'CallExpression' && nameOf(nodeAt(at, 'callee')) === 'send')
    ? sure('sent-environment')
    : undefined
}

function isError(each: Node): boolean {
  return /^(?:e|err|error|ex|exception|cause)$/i.test(nameOf(nodeAt(each, 'object')))
}

/** The stack, or the message, of an error in a response. */
const errors: Rule = ({ node, call, text, ancestors }) => {
  const isSend =
    call !== undefined && /^(?:send|json|end)$/.test(call.name) && call.object !== undefined
  const isReturn = node.type === 'ReturnStatement'
  if (!isSend && !isReturn) return undefined
  const value = isSend ? call.args[0] : nodeAt(node, 'argument')
  const parts = [value, ...partsOf(value)].map(unwrap)
  const names = parts.flatMap((each) => (each?.type === 'MemberExpression' ? [each] : []))
  const inFunction = ancestors.some(isFunction)
  if (!inFunction) return undefined
  if (names.some((each) => nameOf(each) === 'stack' && isError(each))) return sure('sent-stack')
  if (!isSend || !/\b(?:code|status)\(\s*5\d\d\s*\)/.test(text(call.object))) return undefined
  const isWhole = parts.some(
    (each) => each?.type === 'Identifier' && /^(?:err|error|e)$/.test(nameOf(each)),
  )
  return isWhole || names.some((each) => nameOf(each) === 'message' && isError(each))
    ? sure('sent-message')
    : undefined
}

const CREDENTIAL =
  /^(?:access_?token|api_?key|passw(?:or)?d|secret|jwt|sid|session_?(?:id|token|key)|auth(?:_?token)?)$/i

/** `request.query.api_key`, `const { api_key } = request.query` */
const addresses: Rule = ({ node, taint }) => {
  const isPattern = node.type === 'VariableDeclarator'
  if (!isPattern && node.type !== 'MemberExpression') return undefined
  const source = isPattern ? nodeAt(node, 'init') : nodeAt(node, 'object')
  if (!taint.isWholePart(source, ['query'])) return undefined
  const names = isPattern
    ? nodesAt(nodeAt(node, 'id'), 'properties').map((each) => nameOf(nodeAt(each, 'key')))
    : [nameOf(node)]
  if (names.some((name) => CREDENTIAL.test(name))) return sure('credential-in-address')
  return names.some((name) => /^token$/i.test(name)) ? review('credential-in-address') : undefined
}

/** The rules of this file. */
export const secretRules: readonly Rule[] = [
  literals,
  defaults,
  compared,
  keys,
  logs,
  environment,
  errors,
  addresses,
]
