/** Decides the rule of a route: by roles alone where possible, otherwise with conditions. */
import type { DecisionContext } from '../conditions/context.ts'
import type { RelatedNode } from '../conditions/nodes.ts'
import type { Engine } from './engine.ts'
import { GRANTED, type Decision } from './reasons.ts'
import { isConditional, type Right, type Rights } from './rights.ts'
import type { RouteRule, RuleNode } from './route-rule.ts'

const DECIDED_BY_ONE = ['allow', 'deny'] as const
const DECIDED_BY_ALL = ['deny', 'allow'] as const

/** A rule compiled for one engine. */
export class RuleGuard {
  readonly #word: number
  readonly #mask: number
  readonly #parts: readonly RuleGuard[]
  readonly #any: boolean
  /** The rule requires a principal and no permission. */
  readonly #isOpen: boolean

  /** A permission that the policy does not declare is denied. */
  constructor(node: RuleNode, engine: Engine) {
    const id = node.op === 'permission' ? engine.permissionIds.get(node.permission) : undefined
    this.#word = (id ?? 0) >>> 5
    // An empty mask makes the fast path fail for a combination; decide() then looks at the parts.
    this.#mask = id === undefined ? 0 : 1 << (id & 31)
    this.#parts = node.op === 'permission' ? [] : node.of.map((part) => new RuleGuard(part, engine))
    this.#any = node.op !== 'all'
    this.#isOpen = node.op === 'all' && node.of.length === 0
  }

  /** Whether the rule is a single permission that is allowed unconditionally: the fast path. */
  isAllowed(rights: Rights): boolean {
    return (rights.allowed[this.#word]! & this.#mask) !== 0
  }

  /** Returns what roles alone decide. */
  rightOf(rights: Rights): Right {
    if (this.isAllowed(rights)) return 'allow'
    if ((rights.conditional[this.#word]! & this.#mask) !== 0) return 'conditional'
    if (this.#isOpen) return rights.isScoped ? 'deny' : 'allow'
    const [decisive, otherwise] = this.#any ? DECIDED_BY_ONE : DECIDED_BY_ALL
    let right: Right = otherwise
    for (const part of this.#parts) {
      const each = part.rightOf(rights)
      if (each === decisive) return decisive
      if (each === 'conditional') right = 'conditional'
    }
    return right
  }
}

/** A rule and its guards, one for each engine that is still in use. */
export class CompiledRule {
  readonly rule: RouteRule
  readonly #guards = new WeakMap<Engine, RuleGuard>()

  constructor(rule: RouteRule) {
    this.rule = rule
  }

  /** Returns the guard of an engine. A request uses one engine even if a policy is published meanwhile. */
  guardOf(engine: Engine): RuleGuard {
    const known = this.#guards.get(engine)
    if (known !== undefined) return known
    const guard = new RuleGuard(this.rule.node, engine)
    this.#guards.set(engine, guard)
    return guard
  }
}

/** Decides a rule with its conditions. The reason is that of the first permission that decided. */
export function decideNode(
  node: RuleNode,
  engine: Engine,
  rights: Rights,
  context: DecisionContext,
): Decision {
  if (node.op === 'permission') {
    const id = engine.permissionIds.get(node.permission)
    if (id === undefined) return { allowed: false, reason: 'unknown_permission' }
    return engine.decide(rights, id, context)
  }
  const stopAt = node.op === 'any'
  let first: Decision | undefined
  for (const part of node.of) {
    const decision = decideNode(part, engine, rights, context)
    if (decision.allowed === stopAt) return decision
    first ??= decision
  }
  if (first !== undefined) return first
  // Only the rule of a public or authenticated route has no parts, and no scope names such a route.
  return rights.isScoped ? { allowed: false, reason: 'out_of_scope' } : GRANTED
}

/** What has to be looked up before conditions can be evaluated. */
export interface Lookups {
  /** The names of facts. */
  readonly facts: readonly string[]
  readonly related: readonly RelatedNode[]
}

/** Returns what the conditions of these permissions read, given the rights; `null`: nothing. */
export function lookupsFor(
  permissions: readonly string[],
  engine: Engine,
  rights: Rights,
): Lookups | null {
  let found: Lookups | null = null
  for (const permission of permissions) {
    const id = engine.permissionIds.get(permission)
    if (id === undefined || !isConditional(rights, id)) continue
    const { facts, related } = engine.ruleOf(rights, id)
    if (facts.length === 0 && related.length === 0) continue
    found = {
      facts: found === null ? facts : [...new Set([...found.facts, ...facts])],
      related: found === null ? related : [...found.related, ...related],
    }
  }
  return found
}

/** Returns what one role may do with a rule. @param scopes limit the credential. */
export function rightOfRole(
  engine: Engine,
  role: string,
  rule: RouteRule,
  scopes?: readonly string[],
): Right {
  if (rule.kind === 'public') return 'allow'
  const principal = { id: '', roles: [role], ...(scopes === undefined ? undefined : { scopes }) }
  return new RuleGuard(rule.node, engine).rightOf(engine.rightsOf(principal))
}
