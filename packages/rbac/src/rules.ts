/** Route rules: what a route says of who may call it, read once, decided by bits. */
import type { DecisionContext } from './context.ts'
import { isSure, type Decision, type Engine, type Subject } from './engine.ts'
import { hasBit } from './bits.ts'
import type { Permission } from './policy-types.ts'

/** A permission, or several of them. */
export type RuleTerm<P extends string = Permission> =
  | P
  | { readonly any: readonly RuleTerm<P>[] }
  | { readonly all: readonly RuleTerm<P>[] }

/** A rule made ready. Permissions are names: which bit they are is the engine's business. */
export type RuleNode =
  | { readonly op: 'permission'; readonly permission: string }
  | { readonly op: 'any' | 'all'; readonly of: readonly RuleNode[] }

/** What a route says, made ready. */
export interface RouteRule {
  readonly kind: 'public' | 'authenticated' | 'guarded'
  /** Why it needs no permission, in the author's words; empty where it does. */
  readonly why: string
  readonly node: RuleNode
  /** Loads the resource that the conditions look at; typed by the wiring. */
  readonly resource: ((request: never) => unknown) | undefined
  readonly hides: boolean
  /** Every permission it names, each once. */
  readonly permissions: readonly string[]
}

/** What roles alone say of a rule. */
export type Outlook = 'sure' | 'maybe' | 'never'

const KEYS = ['any', 'all', 'permission', 'resource', 'hideAs', 'public', 'authenticated']
const MAX_DEPTH = 8
const DECIDED_BY_ONE = ['sure', 'never'] as const
const DECIDED_BY_ALL = ['never', 'sure'] as const
const MAX_REASON_LENGTH = 200
const GRANTED: Decision = Object.freeze({ allowed: true, reason: 'granted' })

/** Reads a rule; a text in place of a rule says what is wrong with it. */
export function readRule(raw: unknown): RouteRule | string {
  if (typeof raw === 'string') return readGuarded(raw, undefined, false)
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    return "must be a permission, or { any }, { all }, { permission }, { public: 'reason' }"
  }
  const source = raw as Readonly<Record<string, unknown>>
  const unknown = Object.keys(source).find((key) => !KEYS.includes(key))
  if (unknown !== undefined) return `has the unknown key "${unknown}"; known are ${KEYS.join(', ')}`
  const kinds = ['any', 'all', 'permission', 'public', 'authenticated'].filter(
    (key) => key in source,
  )
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    return 'must have exactly one of "permission", "any", "all", "public" and "authenticated"'
  }
  const { resource, hideAs } = source
  if (resource !== undefined && typeof resource !== 'function')
    return '"resource" must be a function'
  if (hideAs !== undefined && hideAs !== 404) return '"hideAs" can only be 404'
  if (kind === 'public' || kind === 'authenticated') return readOpen(kind, source)
  const term = kind === 'permission' ? source['permission'] : { [kind]: source[kind] }
  return readGuarded(term, resource as RouteRule['resource'], hideAs === 404)
}

function readOpen(
  kind: 'public' | 'authenticated',
  source: Readonly<Record<string, unknown>>,
): RouteRule | string {
  const why = source[kind]
  if (Object.keys(source).length > 1) return `"${kind}" goes with nothing else`
  if (typeof why !== 'string' || why.trim().length < 3 || why.length > MAX_REASON_LENGTH) {
    return `"${kind}" needs the reason in words, up to ${MAX_REASON_LENGTH} characters`
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
    return `must name permissions, alone or in { any } and { all }, at most ${MAX_DEPTH} deep`
  }
  const list = (term as Record<string, unknown>)[op]
  // Nothing to ask for would let everybody pass an "all".
  if (!Array.isArray(list) || list.length === 0) return `"${op}" must list at least one permission`
  const of = list.map((each: unknown) => readTerm(each, depth + 1))
  return of.find((each) => typeof each === 'string') ?? { op, of: of as RuleNode[] }
}

function permissionsOf(node: RuleNode): string[] {
  return node.op === 'permission' ? [node.permission] : node.of.flatMap(permissionsOf)
}

/** A rule bound to one engine. A new policy binds it anew. */
export class Guard {
  readonly #word: number
  readonly #mask: number
  readonly #parts: readonly Guard[]
  readonly #any: boolean

  /** A permission that the policy does not have is never granted. */
  constructor(node: RuleNode, engine: Engine) {
    const id = node.op === 'permission' ? engine.permissionIds.get(node.permission) : undefined
    this.#word = (id ?? 0) >>> 5
    // No bit at all where it is not one permission: the fast path says no, and outlook says more.
    this.#mask = id === undefined ? 0 : 1 << (id & 31)
    this.#parts = node.op === 'permission' ? [] : node.of.map((part) => new Guard(part, engine))
    this.#any = node.op !== 'all'
  }

  /** Whether one permission is certain: the whole of the fast path. */
  isSure(subject: Subject): boolean {
    return (subject.sure[this.#word]! & this.#mask) !== 0
  }

  /** What roles alone say. */
  outlook(subject: Subject): Outlook {
    if (this.isSure(subject)) return 'sure'
    if ((subject.maybe[this.#word]! & this.#mask) !== 0) return 'maybe'
    const [decisive, otherwise] = this.#any ? DECIDED_BY_ONE : DECIDED_BY_ALL
    let outlook: Outlook = otherwise
    for (const part of this.#parts) {
      const each = part.outlook(subject)
      if (each === decisive) return decisive
      if (each === 'maybe') outlook = 'maybe'
    }
    return outlook
  }
}

/** Decides a rule, conditions included. The reason is that of the first permission that decided. */
export function decideNode(
  node: RuleNode,
  engine: Engine,
  subject: Subject,
  context: DecisionContext,
): Decision {
  if (node.op === 'permission') {
    const id = engine.permissionIds.get(node.permission)
    if (id === undefined) return { allowed: false, reason: 'unknown_permission' }
    return engine.decide(subject, id, context)
  }
  const stopAt = node.op === 'any'
  let first: Decision | undefined
  for (const part of node.of) {
    const decision = decideNode(part, engine, subject, context)
    if (decision.allowed === stopAt) return decision
    first ??= decision
  }
  // Only the rule of an open route lists nothing.
  return first ?? GRANTED
}

/** The facts that the conditions of these permissions speak of, for this subject. */
export function factsFor(
  permissions: readonly string[],
  engine: Engine,
  subject: Subject,
): readonly string[] {
  const facts = new Set<string>()
  for (const permission of permissions) {
    const id = engine.permissionIds.get(permission)
    if (id === undefined || isSure(subject, id) || !hasBit(subject.maybe, id)) continue
    for (const fact of engine.ruleOf(subject, id).facts) facts.add(fact)
  }
  return [...facts]
}
