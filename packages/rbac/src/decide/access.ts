/** The decisions of one request. All of them use the same policy. */
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
import type { Engine } from './engine.ts'
import { createFilter, type Filter } from './filter.ts'
import { findFacts, type FactFinder } from './facts.ts'
import { maskRecord } from './mask.ts'
import type { Decision, Reason } from './reasons.ts'
import { isAllowed, type Rights } from './rights.ts'
import type { RuleNode } from './route-rule.ts'
import { decideNode, factsFor } from './rule-guard.ts'

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
  /** Roles that the principal has for a limited time. */
  readonly granted: readonly string[] | undefined
  readonly stale: boolean
  /** Called at most once, when a condition needs it. */
  readonly environment: () => Environment
  /** Returns attributes that the policy declares under `subject`. Called at most once. */
  readonly subject: () => Readonly<Record<string, unknown>> | undefined
  /** Receives the decisions of guards and of `authorize`, but not those of `can`. */
  readonly report: (permissions: readonly string[], decision: Decision) => void
}

const UNAUTHENTICATED: Decision = { allowed: false, reason: 'anonymous' }
const STALE: Decision = { allowed: false, reason: 'stale' }

/** The interface of `request.rbac`. */
export interface RequestRbac {
  /** The resource that the rule of the route has loaded; otherwise `undefined`. */
  readonly resource: unknown
  /**
   * Whether the principal has a permission. Facts are unknown here: if a permission depends on a
   * fact, use {@link RequestRbac.authorize}.
   *
   * @param resource the resource that conditions read. Without it, conditions on it are unknown.
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  can(permission: Permission, resource?: unknown): boolean
  /**
   * Resolves if the principal has a permission, and rejects otherwise.
   *
   * @throws PARAPET_RBAC_UNAUTHENTICATED if the request has no principal.
   * @throws PARAPET_RBAC_DENIED
   * @throws PARAPET_RBAC_STALE
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  authorize(permission: Permission, resource?: unknown): Promise<void>
  /**
   * Returns the rule that rows of the resource type must satisfy.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_FACT_IN_FILTER if a fact decides.
   */
  filter(permission: Permission): Filter
  /**
   * Returns a copy of a record without the fields that the principal may not read. If the permission
   * itself is refused, the copy is empty.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if it is not one record; mask the members of a list one by one.
   */
  mask<T extends object>(permission: Permission, record: T): Partial<T>
}

/** Makes the decisions of one request. */
export class Access implements RequestRbac {
  readonly engine: Engine
  readonly principal: Principal | null
  /** `null`: there is no principal, or the policy is stale. */
  readonly rights: Rights | null
  resource: unknown = undefined
  readonly #permissionIds: ReadonlyMap<string, number>
  readonly #services: AccessServices
  readonly #source: AccessSource
  #environment: Environment | undefined
  #subject: Readonly<Record<string, unknown>> | null | undefined = null

  constructor(engine: Engine, services: AccessServices, source: AccessSource) {
    const { principal, granted, stale } = source
    this.engine = engine
    this.#permissionIds = engine.permissionIds
    this.principal = principal
    this.#services = services
    this.#source = source
    this.rights = principal === null || stale ? null : engine.rightsOf(principal, granted)
  }

  can(permission: Permission, resource?: unknown): boolean {
    return this.#allows(permission, resource)
  }

  #allows(permission: string, resource: unknown): boolean {
    const id = this.#permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    const { rights } = this
    if (rights === null) return false
    if (isAllowed(rights, id)) return true
    return this.engine.decide(rights, id, this.#context(resource, undefined)).allowed
  }

  async authorize(permission: Permission, resource?: unknown): Promise<void> {
    if (!this.engine.permissionIds.has(permission)) {
      throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    }
    const decision = await this.decide({ op: 'permission', permission }, [permission], resource)
    this.report([permission], decision)
    if (decision.allowed || this.#services.isReporting?.() === true) return
    throw this.refusal(decision.reason)
  }

  filter(permission: Permission): Filter {
    const id = this.engine.permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    return createFilter(this.engine, this.rights, id, this.#context(undefined, undefined))
  }

  mask<T extends object>(permission: Permission, record: T): Partial<T> {
    if (typeof record !== 'object' || record === null || Array.isArray(record)) {
      const got = Array.isArray(record) ? 'an array' : record === null ? 'null' : typeof record
      throw new PARAPET_RBAC_INVALID_ARGUMENT('"record"', `must be a single object, got ${got}`)
    }
    return maskRecord(this.engine, permission, record, (each) => this.#allows(each, record))
  }

  /** Decides a rule. Returns a promise only if a fact is needed. */
  decide(
    node: RuleNode,
    permissions: readonly string[],
    resource: unknown,
  ): Decision | Promise<Decision> {
    const { rights } = this
    if (rights === null) return this.principal === null ? UNAUTHENTICATED : STALE
    const facts = factsFor(permissions, this.engine, rights)
    if (facts.length === 0) {
      return decideNode(node, this.engine, rights, this.#context(resource, undefined))
    }
    return this.#decideWithFacts(node, rights, facts, resource)
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
    rights: Rights,
    names: readonly string[],
    resource: unknown,
  ): Promise<Decision> {
    const { facts, clock, factTimeoutMs } = this.#services
    const { principal, environment } = this.#context(resource, undefined)
    const found = await findFacts(
      names,
      (name) =>
        Object.hasOwn(facts, name) ? facts[name]!({ principal, resource, environment }) : undefined,
      { clock, timeoutMs: factTimeoutMs },
    )
    return decideNode(node, this.engine, rights, this.#context(resource, found))
  }

  #context(resource: unknown, facts: ReadonlyMap<string, unknown> | undefined): DecisionContext {
    if (this.#subject === null) this.#subject = this.#source.subject()
    return {
      principal: this.principal ?? NO_PRINCIPAL,
      subject: this.#subject,
      resource,
      environment: (this.#environment ??= this.#source.environment()),
      facts,
    }
  }
}

/** Fills the context of a filter without a principal, which passes no row. */
const NO_PRINCIPAL: Principal = Object.freeze({ id: '', roles: [] })
