/** Reads the rule of a route. */

/** A permission or a combination of permissions, by name. */
export type RuleNode =
  | { readonly op: 'permission'; readonly permission: string }
  | { readonly op: 'any' | 'all'; readonly of: readonly RuleNode[] }

/** The rule of a route in its normal form. */
export interface RouteRule {
  readonly kind: 'public' | 'authenticated' | 'guarded'
  /** Why it needs no permission; empty if it needs one. */
  readonly why: string
  readonly node: RuleNode
  /** Loads the resource that the conditions read. */
  readonly resource: ((request: never) => unknown) | undefined
  /** A refusal gets the reply of an unknown path. */
  readonly hides: boolean
  /** Every permission in the rule, without duplicates. */
  readonly permissions: readonly string[]
}

/** A route that has a rule. */
export interface DeclaredRoute {
  readonly method: string
  readonly url: string
  readonly rule: RouteRule
}

const KEYS = ['any', 'all', 'permission', 'resource', 'hideAs', 'public', 'authenticated']
const MAX_DEPTH = 8
const MAX_REASON_LENGTH = 200

/** Reads a rule. Returns a string that says what is wrong if the rule is invalid. */
export function readRule(raw: unknown): RouteRule | string {
  if (typeof raw === 'string') return readGuarded(raw, undefined, false)
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    return `must be a permission or an object such as { any }, { all }, { permission } or { public: 'reason' }, got ${describe(raw)}`
  }
  const source = raw as Readonly<Record<string, unknown>>
  const unknown = Object.keys(source).find((key) => !KEYS.includes(key))
  if (unknown !== undefined)
    return `has the unknown key "${unknown}"; known keys: ${KEYS.join(', ')}`
  const kinds = ['any', 'all', 'permission', 'public', 'authenticated'].filter(
    (key) => key in source,
  )
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    return `must have exactly one of "permission", "any", "all", "public" and "authenticated", got ${kinds.length === 0 ? 'none' : kinds.join(', ')}`
  }
  const { resource, hideAs } = source
  if (resource !== undefined && typeof resource !== 'function') {
    return `has an invalid "resource": it must be a function, got ${describe(resource)}`
  }
  if (hideAs !== undefined && hideAs !== 404) {
    return `has an invalid "hideAs": it must be 404, got ${describe(hideAs)}`
  }
  if (kind === 'public' || kind === 'authenticated') return readOpen(kind, source)
  const term = kind === 'permission' ? source['permission'] : { [kind]: source[kind] }
  return readGuarded(term, resource as RouteRule['resource'], hideAs === 404)
}

function readOpen(
  kind: 'public' | 'authenticated',
  source: Readonly<Record<string, unknown>>,
): RouteRule | string {
  const why = source[kind]
  if (Object.keys(source).length > 1) return `must have no other key beside "${kind}"`
  if (typeof why !== 'string' || why.trim().length < 3 || why.length > MAX_REASON_LENGTH) {
    return `has an invalid "${kind}": it must be the reason, a text of 3 to ${MAX_REASON_LENGTH} characters, got ${describe(why)}; write { ${kind}: 'the reason' }`
  }
  const node: RuleNode = { op: 'all', of: [] }
  return { kind, why, node, resource: undefined, hides: false, permissions: [] }
}

function readGuarded(
  term: unknown,
  resource: RouteRule['resource'],
  hides: boolean,
): RouteRule | string {
  const node = readTerm(term, 0)
  if (typeof node === 'string') return node
  const permissions = [...new Set(permissionsOf(node))]
  return { kind: 'guarded', why: '', node, resource, hides, permissions }
}

function readTerm(term: unknown, depth: number): RuleNode | string {
  if (typeof term === 'string' && term !== '') return { op: 'permission', permission: term }
  const keys = typeof term === 'object' && term !== null ? Object.keys(term) : []
  const [op] = keys
  if (depth > MAX_DEPTH || keys.length !== 1 || (op !== 'any' && op !== 'all')) {
    return `must consist of permissions, { any } and { all }, nested at most ${MAX_DEPTH} levels deep, got ${describe(term)}`
  }
  const list = (term as Record<string, unknown>)[op]
  // An empty "all" would let every principal pass.
  if (!Array.isArray(list) || list.length === 0)
    return `has an invalid "${op}": it must list at least one permission`
  const of = list.map((each: unknown) => readTerm(each, depth + 1))
  return of.find((each) => typeof each === 'string') ?? { op, of: of as RuleNode[] }
}

function permissionsOf(node: RuleNode): string[] {
  return node.op === 'permission' ? [node.permission] : node.of.flatMap(permissionsOf)
}

/** Prints a rule for people. */
export function describeRule({ kind, why, node }: RouteRule): string {
  return kind === 'guarded' ? describeNode(node) : `${kind}: ${why}`
}

function describeNode(node: RuleNode): string {
  if (node.op === 'permission') return node.permission
  return `(${node.of.map(describeNode).join(node.op === 'any' ? ' or ' : ' and ')})`
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object' && value !== null) {
    return `an object with the keys ${Object.keys(value).join(', ') || '(none)'}`
  }
  return typeof value === 'function' ? 'a function' : String(value)
}
