/** The decisions of one request. Each uses the policy, the grants and the time of its own moment. */
import type { Clock, Principal } from '@parapet/kit'
import type { DecisionContext, Environment } from '../conditions/context.ts'
import {
  PARAPET_RBAC_DENIED,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_STALE,
  PARAPET_RBAC_UNAUTHENTICATED,
  PARAPET_RBAC_UNKNOWN_PERMISSION,
} from '../errors.ts'
import type { Permission } from '../policy/policy-types.ts'
import { createFilter, type Filter } from './filter.ts'
import { findFacts, type FactFinder } from './facts.ts'
import { maskRecord } from './mask.ts'
import type { PolicyInForce } from './policy-in-force.ts'
import type { Decision, Reason } from './reasons.ts'
import type { RequestRbac } from './request-rbac.ts'
import { isAllowed } from './rights.ts'
import type { RuleNode } from './route-rule.ts'
import { decideNode, factsFor } from './rule-guard.ts'
import { isCurrent, lookUpStanding, type Standing } from './standing.ts'

/** What the decisions of all requests share. */
export interface AccessServices {
  readonly facts: Readonly<Record<string, FactFinder>>
  readonly factTimeoutMs: number
  readonly clock: Clock
  readonly challenge: string
  /** Whether `authorize` reports denials only. @default no */
  readonly isReporting?: () => boolean
}

/** What the decisions of one request depend on. */
export interface AccessSource {
  readonly principal: Principal | null
  /** Called when a condition needs it, at most once in a millisecond. */
  readonly environment: () => Environment
  /** Returns attributes that the policy declares under `subject`. Called as often as `environment`. */
  readonly subject: () => Readonly<Record<string, unknown>> | undefined
  /** Receives the decisions of guards and of `authorize`, but not those of `can`. */
  readonly report: (permissions: readonly string[], decision: Decision) => void
}

const UNAUTHENTICATED: Decision = { allowed: false, reason: 'anonymous' }
const STALE: Decision = { allowed: false, reason: 'stale' }

/** Makes the decisions of one request. */
export class Access implements RequestRbac {
  readonly principal: Principal | null
  resource: unknown = undefined
  readonly #policy: PolicyInForce
  readonly #services: AccessServices
  readonly #source: AccessSource
  readonly #first: Standing
  #standing: Standing
  #readAt = NaN
  #environment: Environment | undefined
  #subject: Readonly<Record<string, unknown>> | undefined

  constructor(policy: PolicyInForce, services: AccessServices, source: AccessSource) {
    this.principal = source.principal
    this.#policy = policy
    this.#services = services
    this.#source = source
    this.#first = this.#standing = lookUpStanding(policy, source.principal, services.clock)
  }

  /** Returns what the principal may do now. */
  current(): Standing {
    const { clock } = this.#services
    if (isCurrent(this.#standing, this.#policy, clock)) return this.#standing
    return (this.#standing = lookUpStanding(this.#policy, this.principal, clock))
  }

  /** Whether nothing has changed since the request began. */
  isUnchanged(): boolean {
    return this.current() === this.#first
  }

  can(permission: Permission, resource?: unknown): boolean {
    return this.#allows(permission, resource)
  }

  #allows(permission: string, resource: unknown): boolean {
    const { engine, rights } = this.current()
    const id = engine.permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    if (rights === null) return false
    if (isAllowed(rights, id)) return true
    return engine.decide(rights, id, this.#context(resource, undefined)).allowed
  }

  async authorize(permission: Permission, resource?: unknown): Promise<void> {
    if (!this.#policy.engine.permissionIds.has(permission)) {
      throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    }
    const decision = await this.decide({ op: 'permission', permission }, [permission], resource)
    this.report([permission], decision)
    if (decision.allowed || this.#services.isReporting?.() === true) return
    throw this.refusal(decision.reason)
  }

  filter(permission: Permission): Filter {
    const { engine, rights } = this.current()
    const id = engine.permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    return createFilter(engine, rights, id, this.#context(undefined, undefined))
  }

  mask<T extends object>(permission: Permission, record: T): Partial<T> {
    if (typeof record !== 'object' || record === null || Array.isArray(record)) {
      const got = Array.isArray(record) ? 'an array' : record === null ? 'null' : typeof record
      throw new PARAPET_RBAC_INVALID_ARGUMENT('"record"', `must be a single object, got ${got}`)
    }
    const { engine } = this.current()
    return maskRecord(engine, permission, record, (each) => this.#allows(each, record))
  }

  /** Decides a rule. Returns a promise only if a fact is needed. */
  decide(
    node: RuleNode,
    permissions: readonly string[],
    resource: unknown,
  ): Decision | Promise<Decision> {
    const { engine, rights } = this.current()
    if (rights === null) return this.principal === null ? UNAUTHENTICATED : STALE
    const facts = factsFor(permissions, engine, rights)
    if (facts.length === 0) {
      return decideNode(node, engine, rights, this.#context(resource, undefined))
    }
    return this.#decideWithFacts(node, permissions, facts, resource)
  }

  report(permissions: readonly string[], decision: Decision): void {
    this.#source.report(permissions, decision)
  }

  /** Returns the error of a refusal. It reveals nothing about the policy. */
  refusal(reason: Reason): Error & { readonly headers?: Readonly<Record<string, string>> } {
    if (reason === 'stale') return new PARAPET_RBAC_STALE()
    if (reason !== 'anonymous') return new PARAPET_RBAC_DENIED()
    const headers = { 'www-authenticate': this.#services.challenge }
    return Object.assign(new PARAPET_RBAC_UNAUTHENTICATED(), { headers })
  }

  async #decideWithFacts(
    node: RuleNode,
    permissions: readonly string[],
    names: readonly string[],
    resource: unknown,
  ): Promise<Decision> {
    const standing = this.current()
    const { facts, clock, factTimeoutMs } = this.#services
    const { principal, environment } = this.#context(resource, undefined)
    const found = await findFacts(
      names,
      (name) =>
        Object.hasOwn(facts, name) ? facts[name]!({ principal, resource, environment }) : undefined,
      { clock, timeoutMs: factTimeoutMs },
    )
    const { engine, rights } = standing
    // A role may have been revoked during the lookup.
    if (rights === null || this.current() !== standing) {
      return this.decide(node, permissions, resource)
    }
    return decideNode(node, engine, rights, this.#context(resource, found))
  }

  #context(resource: unknown, facts: ReadonlyMap<string, unknown> | undefined): DecisionContext {
    const now = this.#services.clock.now()
    if (now !== this.#readAt) {
      this.#subject = this.#source.subject()
      this.#environment = this.#source.environment()
      this.#readAt = now
    }
    return {
      principal: this.principal ?? NO_PRINCIPAL,
      subject: this.#subject,
      resource,
      environment: this.#environment!,
      facts,
    }
  }
}

/** Fills the context of a filter without a principal, which passes no row. */
const NO_PRINCIPAL: Principal = Object.freeze({ id: '', roles: [] })
