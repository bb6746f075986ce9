/** Weak hashes, ciphers and random values; tokens without expiry; certificates that are not verified. */
import {
  callOf,
  membersOf,
  nameOf,
  nodeAt,
  nodesAt,
  pathOf,
  plainValueOf,
  stringOf,
  unwrap,
  type Node,
} from '../ast.ts'
import { review, sure, type Rule } from '../rule.ts'
import { functionOf } from '../taint.ts'

const passwords: Rule = ({ call, text, node, ancestors }) => {
  if (call === undefined) return undefined
  const { name, args, object } = call
  if (name === 'createHash') {
    const chain = ancestors.findLast(
      ({ type }) =>
        type === 'ExpressionStatement' ||
        type === 'VariableDeclarator' ||
        type === 'ReturnStatement' ||
        type === 'Property' ||
        type === 'BinaryExpression' ||
        type === 'AssignmentExpression',
    )
    const around = text(chain ?? node)
    if (/passw|pwd/i.test(around)) return sure('weak-password-hash')
    return /^(?:md5|sha-?1|md4|ripemd)/i.test(stringOf(args[0]) ?? '')
      ? review('weak-hash')
      : undefined
  }
  if (/bcrypt/i.test(nameOf(object)) && /^(?:hash|hashSync|genSalt|genSaltSync)$/.test(name)) {
    const rounds = plainValueOf(name.startsWith('gen') ? args[0] : args[1])
    return typeof rounds === 'number' && rounds < 10 ? sure('weak-password-hash') : undefined
  }
  if (/^pbkdf2(?:Sync)?$/.test(name)) {
    const iterations = plainValueOf(args[2])
    return typeof iterations === 'number' && iterations < 100_000
      ? sure('weak-password-hash')
      : undefined
  }
  return undefined
}

function isPassword(each: Node | undefined): boolean {
  return (
    (each?.type === 'MemberExpression' || each?.type === 'Identifier') &&
    /^(?:user_?)?(?:passw(?:or)?d|pwd)$/i.test(nameOf(each))
  )
}

/** A password that is compared or stored as it is. */
const plainPasswords: Rule = ({ node, call, taint }) => {
  if (node.type === 'BinaryExpression' && /^[!=]==?$/.test(String(node['operator']))) {
    const sides = [nodeAt(node, 'left'), nodeAt(node, 'right')].map(unwrap)
    const isData = sides.some(
      (each) => taint.isTainted(each) || (each !== undefined && isPassword(each)),
    )
    return sides.every(isPassword) && isData && sides.some((each) => taint.isTainted(each))
      ? sure('plain-password')
      : undefined
  }
  if (call?.object === undefined) return undefined
  if (!/^(?:insert|insertOne|create|push|save|add|set|insertInto|values)$/.test(call.name))
    return undefined
  const values = call.args.flatMap((each) => [
    membersOf(each).get('password'),
    membersOf(membersOf(each).get('data')).get('password'),
  ])
  return values.some((each) => taint.isTainted(each)) ? sure('plain-password') : undefined
}

const ciphers: Rule = ({ call, text }) => {
  if (call !== undefined && /^create(?:C|Dec)ipher$/.test(call.name))
    return sure('weak-cipher', call.callee)
  if (call?.name !== 'createCipheriv' && call?.name !== 'createDecipheriv') return undefined
  const [algorithm, , iv] = call.args
  const name = stringOf(algorithm) ?? ''
  if (/(?:ecb|cbc|cfb|ofb|ctr)$|^(?:des|rc4|rc2|bf|blowfish|cast)/i.test(name))
    return sure('weak-cipher', algorithm)
  const fixed = /^(?:Buffer\.alloc\(|Buffer\.from\(\s*['"`]|['"`])/.test(text(iv))
  return fixed && call.name === 'createCipheriv' ? sure('weak-cipher', iv) : undefined
}

const SENSITIVE =
  /token|secret|passw|otp|code|nonce|session|salt|csrf|invite|reset|(?:^|[a-z_])key|verif|coupon|pin$/i

const random: Rule = ({ call, ancestors }) => {
  if (call === undefined) return undefined
  const path = pathOf(call.callee)
  if (path !== 'Math.random' && call.name !== 'pseudoRandomBytes') return undefined
  const names = ancestors.flatMap((each) => {
    if (each.type === 'VariableDeclarator') return [nameOf(nodeAt(each, 'id'))]
    if (each.type === 'Property' || each.type === 'MethodDefinition') {
      return [nameOf(nodeAt(each, 'key'))]
    }
    if (each.type === 'AssignmentExpression') return [nameOf(nodeAt(each, 'left'))]
    if (each.type === 'FunctionDeclaration') return [nameOf(nodeAt(each, 'id'))]
    return []
  })
  return names.slice(-3).some((name) => SENSITIVE.test(name)) ? sure('weak-random') : undefined
}

const certificates: Rule = ({ node }) => {
  if (node.type === 'Property') {
    const name = nameOf(nodeAt(node, 'key'))
    const value = nodeAt(node, 'value')
    const plain = plainValueOf(value)
    if (/^(?:rejectUnauthorized|strictSSL)$/.test(name) && plain === false)
      return sure('unverified-tls')
    if (
      /^(?:tlsAllowInvalidCertificates|sslValidate)$/.test(name) &&
      plain === (name === 'tlsAllowInvalidCertificates')
    ) {
      return sure('unverified-tls')
    }
    if (name === 'minVersion' && /^TLSv1(?:\.1)?$/.test(stringOf(value) ?? ''))
      return sure('old-tls')
    if (name === 'secureProtocol' && /SSLv|TLSv1(?:_1)?_/.test(stringOf(value) ?? ''))
      return sure('old-tls')
    return undefined
  }
  if (node.type !== 'AssignmentExpression') return undefined
  const isOff = pathOf(nodeAt(node, 'left')).endsWith('NODE_TLS_REJECT_UNAUTHORIZED')
  const value = nodeAt(node, 'right')
  return isOff && (stringOf(value) === '0' || plainValueOf(value) === 0)
    ? sure('unverified-tls')
    : undefined
}

const tokens: Rule = ({ call, node, text, file, ancestors }) => {
  if (node.type === 'Property') {
    const name = nameOf(nodeAt(node, 'key'))
    const value = unwrap(nodeAt(node, 'value'))
    const isNone = nodesAt(value, 'elements').some((each) => /^none$/i.test(stringOf(each) ?? ''))
    if (/^(?:algorithms|allowedAlgorithms)$/.test(name) && isNone) return sure('unverified-token')
    if (/^algorithm$/.test(name) && /^none$/i.test(stringOf(value) ?? ''))
      return sure('unverified-token')
    return name === 'ignoreExpiration' && plainValueOf(value) === true
      ? sure('token-without-expiry')
      : undefined
  }
  if (call === undefined) return undefined
  const owner = pathOf(call.object)
  const isJwt = /(?:^|\.)(?:jwt|jsonwebtoken|JWT)$/.test(owner)
  if (/^(?:decodeJwt|jwtDecode|jwt_decode)$/.test(call.name) || (isJwt && call.name === 'decode')) {
    const body = text(functionOf(ancestors) ?? ancestors[0])
    return /verify/i.test(body) ? review('unverified-token') : sure('unverified-token')
  }
  const signs = (isJwt && call.name === 'sign') || call.name === 'jwtSign'
  if (!signs || /expiresIn|\bexp\b|setExpirationTime/.test(file)) return undefined
  // Only the callee: an argument may be the key.
  return sure('token-without-expiry', call.callee)
}

/** A secret of the request that is compared character by character. */
const comparisons: Rule = ({ node, taint }) => {
  if (node.type !== 'BinaryExpression' || !/^[!=]==?$/.test(String(node['operator'])))
    return undefined
  const sides = [nodeAt(node, 'left'), nodeAt(node, 'right')].map(unwrap)
  const from = sides.findIndex((each) => taint.isTainted(each))
  const other = sides[1 - from]
  if (from === -1 || other === undefined || taint.isTainted(other)) return undefined
  const path = pathOf(other) || (callOf(other)?.name ?? '')
  const isSecret =
    /^process\.env\.\w*(?:SECRET|KEY|TOKEN|PASSWORD)/i.test(path) ||
    /(?:secret|token|api_?key|signature|hmac|digest|otp|csrf)$/i.test(nameOf(other) || path)
  return isSecret && other.type !== 'Literal' ? sure('plain-comparison') : undefined
}

/** The rules of this file. */
export const cryptoRules: readonly Rule[] = [
  passwords,
  plainPasswords,
  ciphers,
  random,
  certificates,
  tokens,
  comparisons,
]
