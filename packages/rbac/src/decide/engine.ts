/**
 * The engine: a policy compiled to bit sets. An unconditional permission costs one load and one AND;
 * only conditional ones are evaluated.
 */
import type { Principal } from '@parapet/kit'
import { readMember } from '../attributes/attributes.ts'
import { compileCondition, evaluateSafely } from '../conditions/compile-condition.ts'
import type { DecisionContext } from '../conditions/context.ts'
import { factsOf, relatedNodesOf, type Node } from '../conditions/nodes.ts'
import { hasBit, mergeBits, setBit, wordsFor } from '../policy/bit-set.ts'
import { digestOf } from '../policy/encode-policy.ts'
import { covers, violatedDuty, type PolicyModel } from '../policy/policy-model.ts'
import { GRANTED, type Decision } from './reasons.ts'
import {
  isAllowed,
  isConditional,
  type CompiledCondition,
  type ConditionalRule,
  type Rights,
} from './rights.ts'

interface CompiledDeny extends CompiledCondition {
  readonly roles: readonly number[] | null
  readonly isUnconditional: boolean
}

const MAX_CACHED_RIGHTS = 1024
const MAX_CACHED_RULES = 256

/** A compiled policy. It never changes: a new policy gets a new engine. */
export class Engine {
  readonly model: PolicyModel
  readonly digest: string
  readonly permissionIds: ReadonlyMap<string, number>
  readonly #words: number
  /** By role: the unconditional grants, with inherited ones. */
  readonly #allow: Uint32Array
  readonly #conditionals = new Map<number, CompiledCondition[]>()
  readonly #denies: readonly CompiledDeny[]
  /** No rule removes a permission, so roles can be checked one by one. */
  readonly #additive: boolean
  readonly #rightsOfPairs = new Map<number, Rights>()
  /** The keys consist of numbers, so a role name cannot forge a key. */
  readonly #rightsOfSets = new Map<string, Rights>()

  constructor(model: PolicyModel) {
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
      isUnconditional: node === null,
    }))
    this.#additive = this.#denies.length === 0 && model.duties.length === 0
  }

  /** Returns the rights of a principal. @param granted roles in addition to those of the principal. */
  rightsOf(principal: Principal, granted?: readonly string[]): Rights {
    const { roles } = principal
    const own = readMember(principal, 'permissions') as Principal['permissions']
    const scopes = readMember(principal, 'scopes') as Principal['scopes']
    return this.#resolve(granted === undefined ? roles : [...roles, ...granted], own, scopes)
  }

  /** Whether roles allow a permission without any condition. */
  rolesAllow(roles: readonly string[], permission: number): boolean {
    if (!this.#additive) return isAllowed(this.#resolve(roles), permission)
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
  decide(rights: Rights, permission: number, context: DecisionContext): Decision {
    if (isAllowed(rights, permission)) return GRANTED
    if (!isConditional(rights, permission)) return this.#refusal(rights, permission)
    const { isGranted, grants, denies } = this.ruleOf(rights, permission)
    const granted =
      isGranted || grants.some(({ evaluate }) => evaluateSafely(evaluate, context) === true)
    if (!granted) return { allowed: false, reason: 'condition_failed' }
    const denied = denies.some(({ evaluate }) => evaluateSafely(evaluate, context) !== false)
    return denied ? { allowed: false, reason: 'denied_by_rule' } : GRANTED
  }

  /** Returns what decides a conditional permission. */
  ruleOf(rights: Rights, permission: number): ConditionalRule {
    const known = rights.rules.get(permission)
    if (known !== undefined) return known
    const grants: CompiledCondition[] = []
    for (const [role, list] of this.#conditionals) {
      if (!hasBit(rights.roles, role)) continue
      grants.push(...list.filter(({ permissions }) => permissions.has(permission)))
    }
    const denies = this.#denies.filter(
      (deny) => deny.permissions.has(permission) && appliesTo(deny, rights.roles),
    )
    const conditions = [...grants, ...denies]
    const facts = new Set(conditions.flatMap((each) => each.facts))
    const rule = {
      isGranted: this.#grantsUnconditionally(rights, permission),
      grants,
      denies,
      facts: [...facts],
      related: conditions.flatMap((each) => each.related),
    }
    if (rights.rules.size >= MAX_CACHED_RULES) rights.rules.clear()
    rights.rules.set(permission, rule)
    return rule
  }

  #grantsUnconditionally(rights: Rights, permission: number): boolean {
    if (rights.permissions.includes(permission)) return true
    const { roleNames } = this.model
    for (let role = 0; role < roleNames.length; role++) {
      if (hasBit(rights.roles, role) && hasBit(this.#allow, permission, role * this.#words)) {
        return true
      }
    }
    return false
  }

  #refusal(rights: Rights, permission: number): Decision {
    if (rights.violatedDuty !== undefined) return { allowed: false, reason: 'separation_of_duty' }
    const { isGranted, grants } = this.ruleOf(rights, permission)
    if (!isGranted && grants.length === 0) return { allowed: false, reason: 'no_grant' }
    const isInScope = rights.ceiling === undefined || hasBit(rights.ceiling, permission)
    return { allowed: false, reason: isInScope ? 'denied_by_rule' : 'out_of_scope' }
  }

  #resolve(roles: readonly string[], own?: readonly string[], scopes?: readonly string[]): Rights {
    const { roleIds } = this.model
    // Most principals have one or two roles, and a number is a faster key than a string.
    if (own === undefined && scopes === undefined && (roles.length === 1 || roles.length === 2)) {
      const first = roleIds.get(roles[0]!)
      const second = roles.length === 2 ? roleIds.get(roles[1]!) : first
      if (first !== undefined && second !== undefined) return this.#resolvePair(first, second)
    }
    const roleList = idsOf(roles, roleIds)
    const permissionList = own === undefined ? [] : idsOf(own, this.permissionIds)
    const ceilingKey = scopes === undefined ? '' : JSON.stringify(scopes)
    const key = `${roleList.join(',')};${permissionList.join(',')};${ceilingKey}`
    const known = this.#rightsOfSets.get(key)
    if (known !== undefined) return known
    return this.#keep(this.#rightsOfSets, key, this.#build(roleList, permissionList, scopes))
  }

  #resolvePair(first: number, second: number): Rights {
    const key = first * this.model.roleNames.length + second
    const known = this.#rightsOfPairs.get(key)
    if (known !== undefined) return known
    return this.#keep(this.#rightsOfPairs, key, this.#build([first, second], [], undefined))
  }

  #keep<K>(cache: Map<K, Rights>, key: K, rights: Rights): Rights {
    if (cache.size >= MAX_CACHED_RIGHTS) cache.delete(cache.keys().next().value!)
    cache.set(key, rights)
    return rights
  }

  #build(
    roles: readonly number[],
    permissions: readonly number[],
    scopes: readonly string[] | undefined,
  ): Rights {
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
      if (!appliesTo(deny, held)) continue
      for (const id of deny.permissions) {
        allow[id >>> 5]! &= ~(1 << (id & 31))
        if (deny.isUnconditional) possible[id >>> 5]! &= ~(1 << (id & 31))
      }
    }
    const ceiling = scopes === undefined ? undefined : this.#ceilingOf(scopes)
    if (ceiling !== undefined) {
      keepBits(allow, ceiling)
      keepBits(possible, ceiling)
    }
    const duty = violatedDuty(this.model, held)
    if (duty !== undefined) {
      allow.fill(0)
      possible.fill(0)
    }
    return {
      allowed: allow,
      conditional: possible.map((bits, word) => bits & ~allow[word]!),
      roles: held,
      permissions,
      ceiling,
      isScoped: scopes !== undefined && !scopes.includes('*'),
      violatedDuty: duty?.id,
      rules: new Map(),
    }
  }

  /** Returns what scopes cover. Scopes of other services are ignored. */
  #ceilingOf(scopes: readonly string[]): Uint32Array {
    const ceiling = new Uint32Array(this.#words)
    for (const scope of scopes) {
      const exact = this.permissionIds.get(scope)
      if (exact !== undefined) setBit(ceiling, exact)
      else if (scope === '*' || scope.endsWith(':*')) {
        for (const [name, id] of this.permissionIds) if (covers(scope, name)) setBit(ceiling, id)
      }
    }
    return ceiling
  }
}

function keepBits(target: Uint32Array, source: Uint32Array): void {
  for (let word = 0; word < target.length; word++) target[word]! &= source[word]!
}

function compile(permissions: readonly number[], node: Node): CompiledCondition {
  return {
    permissions: new Set(permissions),
    evaluate: compileCondition(node),
    facts: factsOf(node),
    related: relatedNodesOf(node),
    node,
  }
}

function appliesTo({ roles }: CompiledDeny, held: Uint32Array): boolean {
  return roles === null || roles.some((role) => hasBit(held, role))
}

function closeGrants({ order, parents, grants }: PolicyModel, words: number): Uint32Array {
  const allow = new Uint32Array(grants.length * words)
  for (const role of order) {
    const row = allow.subarray(role * words, (role + 1) * words)
    for (const permission of grants[role]!) setBit(row, permission)
    for (const parent of parents[role]!) mergeBits(row, allow, parent * words)
  }
  return allow
}

/** Returns the ids of known names, sorted and distinct. Unknown names are ignored. */
function idsOf(names: readonly string[], ids: ReadonlyMap<string, number>): number[] {
  const found = new Set<number>()
  for (const name of names) {
    const id = ids.get(name)
    if (id !== undefined) found.add(id)
  }
  return [...found].toSorted((a, b) => a - b)
}
