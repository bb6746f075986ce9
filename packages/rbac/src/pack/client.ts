/**
 * Evaluates the rights that `app.rbac.pack` returns, in a browser. It imports nothing, and it never says
 * yes where the server says no at that moment; the server still decides every request.
 */

type Truth = boolean | null
type Term = readonly [string, ...string[]] | { readonly v: unknown }
type Condition = Truth | readonly [string, ...never[]]

/** The rights of one principal, as `app.rbac.pack` returns them. */
export interface RightsPack {
  readonly v: 1
  readonly exp: number
  readonly yes: readonly string[]
  readonly if: Readonly<
    Record<string, { readonly any: readonly unknown[]; readonly not: readonly unknown[] }>
  >
}

/**
 * Whether the principal has a permission.
 *
 * @param resource the resource that conditions read, as the server returned it.
 * @param now milliseconds since the Unix epoch. @default the clock of the browser
 */
export function can(
  pack: RightsPack,
  permission: string,
  resource?: unknown,
  now: number = Date.now(),
): boolean {
  if (pack.v !== 1 || !(now < pack.exp)) return false
  if (pack.yes.includes(permission)) return true
  if (!Object.hasOwn(pack.if, permission)) return false
  const { any, not } = pack.if[permission]!
  const truth = (each: unknown): Truth => test(each as Condition, resource)
  return any.some((each) => truth(each) === true) && not.every((each) => truth(each) === false)
}

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/
/** As the server: a prefix does not end inside a surrogate pair. */
const isWhole = (value: string): boolean => !/\p{Cs}/u.test(value)
const isText = (value: unknown): value is string => typeof value === 'string'

function test(node: Condition, resource: unknown): Truth {
  if (node === null || typeof node === 'boolean') return node
  const [op, ...rest] = node as readonly [string, ...unknown[]]
  if (op === '&' || op === '|') {
    const parts = rest.map((part) => test(part as Condition, resource))
    const decisive = op === '|'
    return parts.includes(decisive) ? decisive : parts.includes(null) ? null : !decisive
  }
  if (op === '!') {
    const inner = test(rest[0] as Condition, resource)
    return inner === null ? null : !inner
  }
  const [left, right] = rest.map((term) => read(term as Term, resource))
  if (op === 'e') return left !== undefined
  return left === undefined || right === undefined
    ? null
    : compare(op, left as never, right as never)
}

function read(term: Term, resource: unknown): unknown {
  if (!Array.isArray(term)) return (term as { readonly v: unknown }).v
  const [type, ...path] = term as readonly [string, ...string[]]
  let value: unknown = resource
  for (const name of path) {
    if (typeof value !== 'object' || value === null) return undefined
    const isInherited = name in Object.prototype && !Object.hasOwn(value, name)
    value = isInherited ? undefined : (value as Record<string, unknown>)[name]
  }
  if (type === 'l') return Array.isArray(value) ? value : undefined
  if (type === 'n') return typeof value === 'number' && value === value ? value : undefined
  if (type === 'b') return typeof value === 'boolean' ? value : undefined
  if (!isText(value) || type === 's') return isText(value) ? value : undefined
  const id = value.toLowerCase()
  return UUID.test(id) ? id : undefined
}

function compare(op: string, a: never, b: never): Truth {
  const [left, right] = [a, b] as [readonly unknown[], readonly unknown[]]
  switch (op) {
    case '=':
      return a === b
    case '#':
      return a !== b
    case '<':
      return a < b
    case '[':
      return a <= b
    case '>':
      return a > b
    case ']':
      return a >= b
    case 'in':
      return right.includes(a) || (right.every((each) => typeof each === typeof a) ? false : null)
    case 'any':
      if (right.some((each) => isText(each) && left.includes(each))) return true
      return left.every(isText) && right.every(isText) ? false : null
    case 'all': {
      const missing = right.filter((each) => !isText(each) || !left.includes(each))
      if (missing.length === 0) return true
      return left.every(isText) && missing.some(isText) ? false : null
    }
    case 'pre':
      return isWhole(b) && (a as string).startsWith(b)
    case 'dir':
      return isWhole(b) && `${a as string}/`.startsWith(`${(b as string).replace(/\/$/, '')}/`)
  }
  return null
}
