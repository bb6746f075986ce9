/** Values of a request in queries, commands, code, paths, addresses and patterns. */
import {
  callOf,
  membersOf,
  nameOf,
  nodeAt,
  pathOf,
  stringOf,
  textPartsOf,
  unwrap,
  type Node,
} from '../ast.ts'
import { isExponential } from '../pattern-ambiguity.ts'
import { review, sure, type Found, type Rule, type Visit } from '../rule.ts'
import { functionOf } from '../taint.ts'

const SQL =
  /^\s*(?:(?:select|with)\b[\s\S]*\bfrom\b|insert\s+into\b|update\b[\s\S]*\bset\b|delete\s+from\b|drop\s+table\b|alter\s+table\b|call\s+\w|exec\s+\w)/i
const FILES =
  /^(?:readFile|writeFile|appendFile|createReadStream|createWriteStream|unlink|rm|rmdir|readdir|opendir|stat|lstat|access|open|copyFile|rename|mkdir)(?:Sync)?$/
const FILE_OBJECTS = /^(?:fs|fsp|promises|fsPromises|fse)$/
const FETCHES = /^(?:fetch|got|axios|needle|superagent|request)$/
const FETCH_METHODS = /^(?:get|post|put|patch|delete|head|request|fetch|stream)$/
const FETCH_OBJECTS = /^(?:axios|got|needle|superagent|undici|https?|client)$/
const FILTERS =
  /^(?:find|findOne|findMany|findFirst|findUnique|updateOne|updateMany|deleteOne|deleteMany|findOneAnd\w+|replaceOne|countDocuments|aggregate|where)$/

/** Whether a name of the value was compared with a list or a pattern in the same function. */
function isChecked({ ancestors, taint, text }: Visit, value: Node): boolean {
  const body = text(functionOf(ancestors))
  return taint.namesIn(value).some((name) => {
    if (!/^[\w$]+$/.test(name) || /^(?:body|query|params|headers|request|req)$/.test(name))
      return false
    const escaped = name.replaceAll('$', '\\$')
    return new RegExp(
      `(?:includes|has|hasOwn|test|startsWith|isAllowed\\w*|[Vv]alid\\w*|assert\\w*)\\((?:[^()]|\\([^()]*\\))*\\b${escaped}\\b|\\b${escaped}\\)?\\s+in\\s`,
    ).test(body)
  })
}

/** `sure` where the value comes from a request and was not checked. */
function judge(rule: string, visit: Visit, value: Node | undefined): Found | undefined {
  if (value === undefined || !visit.taint.isTainted(value)) return undefined
  return isChecked(visit, value) ? review(rule, visit.node) : sure(rule, visit.node)
}

const sql: Rule = (visit) => {
  const { node, ancestors, taint } = visit
  const parts = textPartsOf(node)
  if (parts === undefined || parts.values.length === 0 || !SQL.test(parts.fixed)) return undefined
  const parent = ancestors.at(-1)
  // A tagged template binds its values; a part of a longer text is seen with the whole.
  if (parent?.type === 'TaggedTemplateExpression') return undefined
  if (parent?.type === 'BinaryExpression' && parent['operator'] === '+') return undefined
  const tainted = parts.values.find((value) => taint.isTainted(value))
  if (tainted !== undefined) return judge('sql', visit, tainted)
  return parts.values.some((value) => taint.isParameter(value)) ? review('sql') : undefined
}

const command: Rule = (visit) => {
  const { call, taint, file } = visit
  if (call === undefined) return undefined
  const [first, , third] = call.args
  const owner = nameOf(call.object)
  const isShell =
    /^exec(?:Sync|Async|Promise|P)?$/.test(call.name) &&
    (call.object === undefined ||
      /^(?:cp|child_process|childProcess|execa|shell|shelljs)$/.test(owner) ||
      /child_process/.test(visit.text(call.object)))
  const options = membersOf(third ?? call.args[1])
  const hasShell = options.has('shell') && visit.text(options.get('shell')) !== 'false'
  if (!isShell && !(/^(?:spawn|execFile)(?:Sync)?$/.test(call.name) && hasShell)) return undefined
  if (call.args.some((each) => taint.isTainted(each))) return sure('command')
  const isFixed = stringOf(first) !== undefined
  return isFixed || !/child_process|shelljs|execa/.test(file) ? undefined : review('command')
}

const code: Rule = ({ call, taint, node }) => {
  if (call === undefined) return undefined
  const { name, object, args } = call
  if (args.length === 0) return undefined
  const isVariable = args.some((each) => stringOf(each) === undefined)
  if (object === undefined && name === 'eval') return isVariable ? sure('code') : review('code')
  if (object === undefined && name === 'Function') return isVariable ? sure('code') : review('code')
  if (
    /^(?:runIn(?:New|This)?Context|compileFunction|Script)$/.test(name) &&
    /vm/i.test(nameOf(object))
  ) {
    return args.some((each) => taint.isTainted(each)) ? sure('code') : review('code')
  }
  const isTimer = /^(?:setTimeout|setInterval)$/.test(name) && node.type === 'CallExpression'
  return isTimer && taint.isTainted(args[0]) ? sure('code') : undefined
}

const files: Rule = (visit) => {
  const { call, taint } = visit
  if (call === undefined || !FILES.test(call.name)) return undefined
  const owner = nameOf(call.object)
  if (call.object !== undefined && !FILE_OBJECTS.test(owner)) return undefined
  return taint.isTainted(call.args[0]) ? judge('path', visit, call.args[0]) : undefined
}

const filters: Rule = (visit) => {
  const { call, taint } = visit
  if (call?.object === undefined || !FILTERS.test(call.name)) return undefined
  const [filter] = call.args
  const nested = [...membersOf(filter)]
  const whole = taint.isWholePart(filter) || nested.some(([, value]) => taint.isWholePart(value))
  if (whole) return sure('filter')
  const where = nested.find(([name]) => name === '$where')?.[1]
  if (where !== undefined && taint.isTainted(where)) return sure('filter')
  // A password in a filter can be an operator such as { "$ne": "" }, and is stored as it is.
  const password = nested.find(([name]) => /^passw/i.test(name))?.[1]
  if (taint.isTainted(password)) return [sure('filter'), sure('plain-password')]
  const isOfBody = nested.some(([, value]) => taint.isTainted(value) && isFromBody(visit, value))
  return isOfBody ? sure('filter-member') : undefined
}

/** `request.body.name`, or a name that was taken from the body in the same function. */
function isFromBody({ text, ancestors }: Visit, value: Node): boolean {
  const name = text(value)
  if (/\bbody\b/.test(name)) return true
  if (!/^[\w$]+$/.test(name)) return false
  const escaped = name.replaceAll('$', '\\$')
  return new RegExp(`\\{[^{}]*\\b${escaped}\\b[^{}]*\\}\\s*=\\s*(?:\\w+\\.)*body\\b`).test(
    text(functionOf(ancestors)),
  )
}

const addresses: Rule = (visit) => {
  const { call, taint } = visit
  if (call === undefined) return undefined
  const { name, object, args } = call
  const owner = nameOf(object)
  const isFetch =
    object === undefined
      ? FETCHES.test(name)
      : FETCH_METHODS.test(name) && FETCH_OBJECTS.test(owner)
  if (!isFetch) return undefined
  const options = membersOf(args[0])
  const target = options.get('url') ?? options.get('host') ?? options.get('hostname') ?? args[0]
  const fixed = stringOf(target) ?? textPartsOf(target)?.first ?? ''
  if (!taint.isTainted(target)) return isForeignHttp(fixed) ? sure('plain-http') : undefined
  // Only the path comes from the request.
  return /^https?:\/\/[^/?#]+[/?#]/.test(fixed) ? undefined : judge('ssrf', visit, target)
}

function isForeignHttp(text: string): boolean {
  return /^http:\/\/(?!localhost|127\.|\[::1\]|0\.0\.0\.0|host\.docker|[\w-]+(?:[:/]|$))/i.test(
    text,
  )
}

const redirects: Rule = (visit) => {
  const { call, taint } = visit
  if (call?.name !== 'redirect' || call.object === undefined) return undefined
  const target = call.args.find((each) => taint.isTainted(each))
  if (target === undefined) return undefined
  const first = textPartsOf(target)?.first ?? ''
  const isFixedSite = /^(?:\/[^/\\]|https?:\/\/[^/?#]+[/?#])/.test(first)
  return isFixedSite ? undefined : judge('redirect', visit, target)
}

const patterns: Rule = (visit) => {
  const { call, taint, node } = visit
  if (call?.name === 'RegExp' && call.object === undefined) {
    return taint.isTainted(call.args[0]) ? sure('pattern') : undefined
  }
  const { pattern, flags } = (node['regex'] ?? {}) as { pattern?: string; flags?: string }
  return pattern !== undefined && isExponential(pattern, flags) ? sure('pattern') : undefined
}

const deserialization: Rule = ({ call, taint, node }) => {
  const source =
    node.type === 'ImportDeclaration'
      ? stringOf(nodeAt(node, 'source'))
      : call?.name === 'require'
        ? stringOf(call.args[0])
        : undefined
  if (source !== undefined && /^(?:node-serialize|serialize-to-js|funcster|cryo)$/.test(source)) {
    return sure('deserialization')
  }
  if (source === 'vm2') return sure('code')
  if (call === undefined || !/^(?:unserialize|deserialize)$/.test(call.name)) return undefined
  return taint.isTainted(call.args[0]) ? sure('deserialization') : undefined
}

const markup: Rule = (visit) => {
  const { node, taint, ancestors, text, file } = visit
  const parts = textPartsOf(node)
  if (parts === undefined || !/<[a-z!][\s\S]*>/i.test(parts.fixed)) return undefined
  const parent = ancestors.at(-1)
  if (parent?.type === 'TaggedTemplateExpression') return undefined
  if (parent?.type === 'BinaryExpression' && parent['operator'] === '+') return undefined
  const value = parts.values.find((each) => taint.isTainted(each))
  if (value === undefined) return undefined
  const isSent = /text\/html/.test(`${text(functionOf(ancestors))}${file}`)
  return isSent ? judge('markup', visit, value) : review('markup')
}

const prototypes: Rule = ({ node, call, taint }) => {
  if (
    call !== undefined &&
    /^(?:merge|mergeWith|defaultsDeep|deepmerge|extend|set)$/.test(call.name)
  ) {
    const [first, ...others] = call.args
    const isDeep = call.name !== 'set' && call.name !== 'extend'
    const isLodash = /^(?:_|lodash|merge|deepmerge)$/.test(nameOf(call.object) || call.name)
    if (!isDeep || !isLodash) return undefined
    const source = call.name === 'deepmerge' ? [first, ...others] : others
    return source.some((each) => taint.isTainted(each)) ? sure('prototype') : undefined
  }
  if (node.type !== 'AssignmentExpression') return undefined
  const left = unwrap(nodeAt(node, 'left'))
  if (left?.type !== 'MemberExpression' || left['computed'] !== true) return undefined
  const object = unwrap(nodeAt(left, 'object'))
  const isMap = /^(?:headers|cache)$/.test(nameOf(object))
  // A key of a client and a value that is not fixed; `a[b][c] = …` reaches a prototype.
  const isNested = object?.type === 'MemberExpression' && object['computed'] === true
  if (isMap || !taint.isTainted(nodeAt(left, 'property'))) return undefined
  return isNested && taint.isTainted(nodeAt(object, 'property'))
    ? sure('prototype')
    : review('prototype')
}

const writes: Rule = ({ node, call, taint }) => {
  if (node.type === 'SpreadElement') {
    return taint.isWholePart(nodeAt(node, 'argument'), ['body'])
      ? sure('mass-assignment')
      : undefined
  }
  if (call === undefined) return undefined
  const isAssign = call.name === 'assign' && pathOf(call.callee) === 'Object.assign'
  const isWrite =
    /^(?:create|insert|insertOne|update|updateOne|save|upsert|findByIdAndUpdate|push|values|set)$/
  if (!isAssign && !(call.object !== undefined && isWrite.test(call.name))) return undefined
  const given = isAssign ? call.args.slice(1) : call.args
  const isWhole = given.some(
    (each) =>
      taint.isWholePart(each, ['body']) ||
      ['data', '$set', 'values'].some((name) =>
        taint.isWholePart(membersOf(each).get(name), ['body']),
      ),
  )
  return isWhole ? sure('mass-assignment') : undefined
}

const FILE_CHANGES = /^(?:writeFile|appendFile|unlink|rm|rmdir|rename|truncate)(?:Sync)?$/

/** `createHash('sha256').update(text)`, `Object.create(prototype)`, `searchParams.delete(name)`. */
function isNoStorage({ call, text }: Visit): boolean {
  const object = text(call?.object)
  return (
    /create(?:Hash|Hmac|Sign|Verify|Cipheriv|Decipheriv)\(/.test(object) ||
    /(?:hash|hmac|digest|signer?|verifier|(?:de)?cipher|Object|[pP]arams|[hH]eaders)$/.test(object)
  )
}

/** Whether a call deletes or writes something that the request names. */
const changes: Rule = (visit) => {
  const { call, taint, node } = visit
  const text =
    stringOf(node) ?? (node.type === 'TemplateLiteral' ? textPartsOf(node)?.fixed : undefined)
  if (
    text !== undefined &&
    /^\s*(?:insert\s+into|update\s+\w+\s+set|delete\s+from)\b/i.test(text)
  ) {
    return sure('change')
  }
  if (call?.object === undefined) return undefined
  const isChange =
    /^(?:delete(?:One|Many|ById)?|destroy|remove|insert(?:One|Many)?|create|update(?:One|Many)?|upsert|save)$/
  if (FILE_CHANGES.test(call.name) && FILE_OBJECTS.test(nameOf(call.object))) return sure('change')
  if (!isChange.test(call.name) || isNoStorage(visit)) return undefined
  return call.args.some(
    (each) => taint.isTainted(each) || taint.isTainted(unwrap(callOf(each)?.node)),
  )
    ? sure('change')
    : undefined
}

/** The rules of this file. */
export const injectionRules: readonly Rule[] = [
  sql,
  command,
  code,
  files,
  filters,
  addresses,
  redirects,
  patterns,
  deserialization,
  markup,
  prototypes,
  writes,
  changes,
]
