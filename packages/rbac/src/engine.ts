/**
 * The engine: a policy compiled to bits. What a subject may do for certain is one load and one AND;
 * only what depends on a condition is evaluated.
 */
import type { Principal } from '@parapet/kit'
import { readMember } from './attributes.ts'
import { hasBit, mergeBits, setBit, wordsFor } from './bits.ts'
import { compileCondition, evaluateSafely, type Evaluate } from './condition-compile.ts'
import { factsOf } from './condition-facts.ts'
import type { Node } from './condition-nodes.ts'
import type { DecisionContext } from './context.ts'
import { digestOf } from './document.ts'
import { brokenDuty, type Model } from './model.ts'
import type { Reason } from './reasons.ts'

/** A condition of the policy, compiled. */
interface Compiled {
  readonly permissions: ReadonlySet<number>
  readonly evaluate: Evaluate
  readonly facts: readonly string[]
  readonly node: Node
}

interface CompiledDeny extends Compiled {
  readonly roles: readonly number[] | null
  readonly always: boolean
}

/** What decides one permission of one subject, where it is not certain. */
export interface ConditionalRule {
  /** Granted without a condition; a deny rule may still match. */
  readonly always: boolean
  readonly grants: readonly Compiled[]
  readonly denies: readonly Compiled[]
  /** The facts that its conditions speak of. */
  readonly facts: readonly string[]
}

/** A set of roles and permissions, resolved once and shared by everybody who has the same. */
export interface Subject {
  /** Allowed whatever the conditions say. */
  readonly sure: Uint32Array
  /** Allowed if conditions say so. */
  readonly maybe: Uint32Array
  /** The roles, with all they inherit. */
  readonly held: Uint32Array
  /** The principal's own permissions. */
  readonly permissions: readonly number[]
  /** The separation of duty that the roles break: such a subject may do nothing. */
  readonly brokenDuty: string | undefined
  readonly rules: Map<number, ConditionalRule>
}

/** How a decision fell. */
export interface Decision {
  readonly allowed: boolean
  readonly reason: Reason
}

const ALLOWED: Decision = Object.freeze({ allowed: true, reason: 'granted' })
const MAX_SUBJECTS = 1024
const MAX_RULES = 256

/** One compiled policy. It never changes; a new policy is a new engine. */
export class Engine {
  readonly model: Model
  readonly digest: string
  readonly permissionIds: ReadonlyMap<string, number>
  readonly #words: number
  /** By role, what it and all it inherits grant without a condition. */
  readonly #allow: Uint32Array
  readonly #conditionals = new Map<number, Compiled[]>()
  readonly #denies: readonly CompiledDeny[]
  /** No rule takes anything away, so single roles can be asked one by one. */
  readonly #additive: boolean
  readonly #pairs = new Map<number, Subject>()
  /** By the ids of roles and permissions, never by their names: no name can forge a key. */
  readonly #subjects = new Map<string, Subject>()

  constructor(model: Model) {
    this.model = model
    this.digest = digestOf(model.policy)
    this.permissionIds = model.permissionIds
    this.#words = wordsFor(model.permissionIds.size)
    this.#allow = closeGrants(model, this.#words)
    for (const { role, permissions, node } of model.conditionals) {
      const list = this.#conditionals.get(role) ?? []
      this.#conditionals.set(role, list)
      list.push(compile(permissions, node))
    }
    this.#denies = model.denies.map(({ permissions, roles, node }) => ({
      ...compile(permissions, node ?? { op: 'value', value: true }),
      roles,
      always: node === null,
    }))
    this.#additive = this.#denies.length === 0 && model.duties.length === 0
  }

  /** The subject of a principal. @param granted roles beside those of the principal. */
  subjectOf(principal: Principal, granted?: readonly string[]): Subject {
    const { roles } = principal
    const own = readMember(principal, 'permissions') as Principal['permissions']
    return this.#resolve(granted === undefined ? roles : [...roles, ...granted], own)
  }

  /** Whether roles alone, without any condition, allow a permission. */
  rolesAllow(roles: readonly string[], permission: number): boolean {
    if (!this.#additive) return isSure(this.#resolve(roles, undefined), permission)
    const { roleIds } = this.model
    const word = permission >>> 5
    const mask = 1 << (permission & 31)
    for (let index = 0; index < roles.length; index++) {
      const role = roleIds.get(roles[index]!)
      if (role !== undefined && (this.#allow[role * this.#words + word]! & mask) !== 0) return true
    }
    return false
  }

  /** Decides one permission. */
  decide(subject: Subject, permission: number, context: DecisionContext): Decision {
    if (isSure(subject, permission)) return ALLOWED
    if (!hasBit(subject.maybe, permission)) return this.#refusal(subject, permission)
    const { always, grants, denies } = this.ruleOf(subject, permission)
    const granted =
      always || grants.some(({ evaluate }) => evaluateSafely(evaluate, context) === true)
    if (!granted) return { allowed: false, reason: 'condition_failed' }
    const denied = denies.some(({ evaluate }) => evaluateSafely(evaluate, context) !== false)
    return denied ? { allowed: false, reason: 'denied_by_rule' } : ALLOWED
  }

  /** What decides a permission that is in {@link Subject.maybe}. */
  ruleOf(subject: Subject, permission: number): ConditionalRule {
    const known = subject.rules.get(permission)
    if (known !== undefined) return known
    const grants: Compiled[] = []
    for (const [role, list] of this.#conditionals) {
      if (!hasBit(subject.held, role)) continue
      grants.push(...list.filter(({ permissions }) => permissions.has(permission)))
    }
    const denies = this.#denies.filter(
      (deny) => deny.permissions.has(permission) && concerns(deny, subject.held),
    )
    const facts = new Set([...grants, ...denies].flatMap((each) => each.facts))
    const rule = {
      always: this.#grantsAlways(subject, permission),
      grants,
      denies,
      facts: [...facts],
    }
    if (subject.rules.size >= MAX_RULES) subject.rules.clear()
    subject.rules.set(permission, rule)
    return rule
  }

  #grantsAlways(subject: Subject, permission: number): boolean {
    if (subject.permissions.includes(permission)) return true
    const { roleNames } = this.model
    for (let role = 0; role < roleNames.length; role++) {
      if (hasBit(subject.held, role) && hasBit(this.#allow, permission, role * this.#words)) {
        return true
      }
    }
    return false
  }

  #refusal(subject: Subject, permission: number): Decision {
    if (subject.brokenDuty !== undefined) return { allowed: false, reason: 'separation_of_duty' }
    const { always, grants } = this.ruleOf(subject, permission)
    return { allowed: false, reason: always || grants.length > 0 ? 'denied_by_rule' : 'no_grant' }
  }

  #resolve(roles: readonly string[], own: readonly string[] | undefined): Subject {
    const { roleIds } = this.model
    // Nearly everybody has one role or two; a number is a quicker key than a text.
    if (own === undefined && (roles.length === 1 || roles.length === 2)) {
      const first = roleIds.get(roles[0]!)
      const second = roles.length === 2 ? roleIds.get(roles[1]!) : first
      if (first !== undefined && second !== undefined) return this.#resolvePair(first, second)
    }
    const roleList = idsOf(roles, roleIds)
    const permissionList = own === undefined ? [] : idsOf(own, this.permissionIds)
    const key = `${roleList.join(',')};${permissionList.join(',')}`
    const known = this.#subjects.get(key)
    if (known !== undefined) return known
    return this.#keep(this.#subjects, key, this.#build(roleList, permissionList))
  }

  #resolvePair(first: number, second: number): Subject {
    const key = first * this.model.roleNames.length + second
    const known = this.#pairs.get(key)
    if (known !== undefined) return known
    return this.#keep(this.#pairs, key, this.#build([first, second], []))
  }

  #keep<K>(subjects: Map<K, Subject>, key: K, subject: Subject): Subject {
    if (subjects.size >= MAX_SUBJECTS) subjects.delete(subjects.keys().next().value!)
    subjects.set(key, subject)
    return subject
  }

  #build(roles: readonly number[], permissions: readonly number[]): Subject {
    const { closure, closureWords } = this.model
    const held = new Uint32Array(closureWords)
    const allow = new Uint32Array(this.#words)
    for (const role of roles) {
      mergeBits(held, closure, role * closureWords)
      mergeBits(allow, this.#allow, role * this.#words)
    }
    for (const permission of permissions) setBit(allow, permission)
    const possible = allow.slice()
    for (const [role, list] of this.#conditionals) {
      if (!hasBit(held, role)) continue
      for (const each of list) for (const id of each.permissions) setBit(possible, id)
    }
    for (const deny of this.#denies) {
      if (!concerns(deny, held)) continue
      for (const id of deny.permissions) {
        allow[id >>> 5]! &= ~(1 << (id & 31))
        if (deny.always) possible[id >>> 5]! &= ~(1 << (id & 31))
      }
    }
    const duty = brokenDuty(this.model, held)
    if (duty !== undefined) {
      allow.fill(0)
      possible.fill(0)
    }
    return {
      sure: allow,
      maybe: possible.map((bits, word) => bits & ~allow[word]!),
      held,
      permissions,
      brokenDuty: duty?.id,
      rules: new Map(),
    }
  }
}

/** Whether a subject is allowed whatever the conditions say: the whole of the fast path. */
export function isSure(subject: Subject, permission: number): boolean {
  return (subject.sure[permission >>> 5]! & (1 << (permission & 31))) !== 0
}

function compile(permissions: readonly number[], node: Node): Compiled {
  return {
    permissions: new Set(permissions),
    evaluate: compileCondition(node),
    facts: factsOf(node),
    node,
  }
}

function concerns({ roles }: CompiledDeny, held: Uint32Array): boolean {
  return roles === null || roles.some((role) => hasBit(held, role))
}

function closeGrants({ order, parents, grants }: Model, words: number): Uint32Array {
  const allow = new Uint32Array(grants.length * words)
  for (const role of order) {
    const row = allow.subarray(role * words, (role + 1) * words)
    for (const permission of grants[role]!) setBit(row, permission)
    for (const parent of parents[role]!) mergeBits(row, allow, parent * words)
  }
  return allow
}

/** Known names as ascending ids, each once; a name the policy does not have gives nothing. */
function idsOf(names: readonly string[], ids: ReadonlyMap<string, number>): number[] {
  const found = new Set<number>()
  for (const name of names) {
    const id = ids.get(name)
    if (id !== undefined) found.add(id)
  }
  return [...found].toSorted((a, b) => a - b)
}
