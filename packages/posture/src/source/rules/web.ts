/** Cookies, forwarded headers, listings, uploads and overrides of methods in the source. */
import { membersOf, nameOf, nodeAt, plainValueOf, stringOf, unwrap, type Node } from '../ast.ts'
import { review, sure, type Found, type Rule } from '../rule.ts'

const SESSION_COOKIE = /sess|sid|auth|token|jwt|login|remember|user/i

const cookies: Rule = ({ call, node }) => {
  if (node.type === 'ObjectExpression') return readOptions(node)
  if (call?.object === undefined || !/^(?:setCookie|cookie)$/.test(call.name)) return undefined
  const [name, value, options] = call.args
  if (value === undefined) return undefined
  const label = stringOf(name) ?? nameOf(name)
  const isSession = SESSION_COOKIE.test(label)
  if (options === undefined) return allMissing(isSession)
  if (unwrap(options)?.type !== 'ObjectExpression') return undefined
  const members = membersOf(options)
  // Options that are spread from elsewhere are not seen.
  if (hasSpread(options)) return undefined
  const found: Found[] = []
  if (!members.has('secure')) found.push(sure('cookie-insecure'))
  if (!members.has('httpOnly') && isSession) found.push(sure('cookie-script'))
  if (!members.has('sameSite')) found.push(sure('cookie-site'))
  if (
    isSession &&
    label !== '' &&
    !/^__(?:Host|Secure)-/.test(label) &&
    stringOf(name) !== undefined
  ) {
    found.push(sure('cookie-name'))
  }
  return found
}

function allMissing(isSession: boolean): Found[] {
  const found = [sure('cookie-insecure'), sure('cookie-site')]
  return isSession ? [...found, sure('cookie-script')] : found
}

function hasSpread(node: Node): boolean {
  const properties = (unwrap(node)?.['properties'] ?? []) as readonly Node[]
  return properties.some(({ type }) => type === 'SpreadElement')
}

/** Options of a cookie that turn a protection off. */
function readOptions(node: Node): Found[] {
  const members = membersOf(node)
  const isCookie = ['httpOnly', 'sameSite', 'secure'].filter((name) => members.has(name)).length > 0
  if (!isCookie) return []
  const found: Found[] = []
  const isOff = (name: string) => plainValueOf(members.get(name)) === false
  const looksLikeOptions = [
    'httpOnly',
    'sameSite',
    'path',
    'maxAge',
    'domain',
    'signed',
    'expires',
  ].some((name) => members.has(name))
  if (isOff('secure') && (looksLikeOptions || members.size === 1))
    found.push(sure('cookie-insecure', node))
  if (isOff('httpOnly')) found.push(sure('cookie-script', node))
  const site = members.get('sameSite')
  if (/^none$/i.test(stringOf(site) ?? '') || plainValueOf(site) === false)
    found.push(sure('cookie-site', node))
  return found
}

/** `request.headers['x-forwarded-for']` */
const forwarded: Rule = ({ node }) => {
  if (node.type !== 'MemberExpression') return undefined
  const object = unwrap(nodeAt(node, 'object'))
  return nameOf(object) === 'headers' &&
    /^(?:x-forwarded-for|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip)$/i.test(
      nameOf(node),
    )
    ? sure('forwarded-header')
    : undefined
}

const settings: Rule = ({ node }) => {
  if (node.type !== 'Property') return undefined
  const name = nameOf(nodeAt(node, 'key'))
  const value = nodeAt(node, 'value')
  if (name === 'dotfiles' && stringOf(value) === 'allow') return sure('dotfiles')
  if (/^on(?:Proto|Constructor)Poisoning$/.test(name) && stringOf(value) === 'ignore')
    return sure('prototype')
  return undefined
}

const listings: Rule = ({ call }) => {
  if (call?.name !== 'register') return undefined
  const options = membersOf(call.args[1])
  const list = options.get('list')
  const found: Found[] = []
  const isListed = list !== undefined && plainValueOf(list) !== false && options.has('root')
  if (isListed) found.push(sure('listing'))
  const isMultipart = /multipart|upload|multer/i.test(nameOf(call.args[0]))
  if (isMultipart && !options.has('limits')) found.push(review('upload'))
  return found
}

const overrides: Rule = ({ node, call }) => {
  const text = node.type === 'Literal' ? stringOf(node) : undefined
  if (text !== undefined && /^x-http-method(?:-override)?$/i.test(text))
    return sure('method-override')
  return call?.name === 'require' && stringOf(call.args[0]) === 'method-override'
    ? sure('method-override')
    : undefined
}

/** Texts that tell an unknown account from a wrong password. */
const accounts: Rule = ({ node }) => {
  const text = node.type === 'Literal' ? stringOf(node) : undefined
  if (text === undefined || text.length > 200) return undefined
  const isAccount =
    /\b(?:user(?:name)?|account|e-?mail(?: address)?)\b (?:was |is )?(?:not found|not registered|unknown|does ?n[o']t exist|does not exist)|\bno (?:such )?(?:user|account)\b|\bunknown (?:user|account|e-?mail)\b/i.test(
      text,
    )
  return isAccount ? review('account-message') : undefined
}

/** The rules of this file. */
export const webRules: readonly Rule[] = [
  cookies,
  forwarded,
  settings,
  listings,
  overrides,
  accounts,
]
