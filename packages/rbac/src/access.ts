/** What one principal may do: every question of one request, answered by one policy. */
import type { Clock, Principal } from '@parapet/kit'
import { findFacts } from './condition-facts.ts'
import type { DecisionContext, Environment } from './context.ts'
import { isSure, type Decision, type Engine, type Subject } from './engine.ts'
import {
  PARAPET_RBAC_DENIED,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_STALE,
  PARAPET_RBAC_UNAUTHENTICATED,
  PARAPET_RBAC_UNKNOWN_PERMISSION,
} from './errors.ts'
import { createFilter, type Filter } from './filter.ts'
import { maskRecord } from './mask.ts'
import type { Permission } from './policy-types.ts'
import type { Reason } from './reasons.ts'
import { decideNode, factsFor, type RuleNode } from './rules.ts'

/** What a fact is asked about. */
export interface FactQuestion {
  readonly principal: Principal
  /** As it was given; `undefined` where the decision has none. */
  readonly resource: unknown
  readonly environment: Environment
}

/** Finds out a fact. What it throws, and what comes too late, leaves the fact unknown. */
export type FactFinder = (question: FactQuestion) => unknown

/** What the questions of all requests share. */
export interface AccessServices {
  readonly facts: Readonly<Record<string, FactFinder>>
  readonly factTimeoutMs: number
  readonly clock: Clock
  readonly challenge: string
}

/** Who asks, and where. */
export interface AccessSource {
  readonly principal: Principal | null
  /** Roles that the principal has for a time. */
  readonly granted: readonly string[] | undefined
  readonly stale: boolean
  /** Read once, when a condition needs it. */
  readonly environment: () => Environment
  readonly subject: () => Readonly<Record<string, unknown>> | undefined
  /** Is told of the decisions that end or begin something; questions are not told. */
  readonly report: (permissions: readonly string[], decision: Decision) => void
}

const UNAUTHENTICATED: Decision = { allowed: false, reason: 'anonymous' }
const STALE: Decision = { allowed: false, reason: 'stale' }

/** What is at `request.rbac`. */
export interface RequestRbac {
  /** The resource that the route's rule loaded; `undefined` where it has none, or not yet. */
  readonly resource: unknown
  /**
   * Whether the principal may. Facts are unknown to it: a permission that hangs on one is refused
   * here and decided by {@link RequestRbac.authorize}.
   *
   * @param resource what the conditions look at; a condition on a resource that is not given does not hold.
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  can(permission: Permission, resource?: unknown): boolean
  /**
   * Resolves when the principal may, and rejects when not.
   *
   * @throws PARAPET_RBAC_UNAUTHENTICATED nobody is signed in.
   * @throws PARAPET_RBAC_DENIED
   * @throws PARAPET_RBAC_STALE
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  authorize(permission: Permission, resource?: unknown): Promise<void>
  /**
   * The rule that is left for rows of the permission's resource. Facts are unknown to it.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  filter(permission: Permission): Filter
  /**
   * A copy of the record without the fields that the principal may not see; without any field when
   * the permission itself is refused.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_INVALID_ARGUMENT it is no record: a list is masked one by one.
   */
  mask<T extends object>(permission: Permission, record: T): Partial<T>
}

/** The answers to one request. */
export class Access implements RequestRbac {
  readonly engine: Engine
  readonly principal: Principal | null
  resource: unknown = undefined
  readonly #permissionIds: ReadonlyMap<string, number>
  readonly #services: AccessServices
  readonly #source: AccessSource
  readonly #subject: Subject | null
  #environment: Environment | undefined
  #attributes: Readonly<Record<string, unknown>> | null | undefined = null

  constructor(engine: Engine, services: AccessServices, source: AccessSource) {
    const { principal, granted, stale } = source
    this.engine = engine
    this.#permissionIds = engine.permissionIds
    this.principal = principal
    this.#services = services
    this.#source = source
    this.#subject = principal === null || stale ? null : engine.subjectOf(principal, granted)
  }

  /** `null`: nobody, or nobody that can be decided about now. */
  get subject(): Subject | null {
    return this.#subject
  }

  can(permission: Permission, resource?: unknown): boolean {
    return this.#allows(permission, resource)
  }

  #allows(permission: string, resource: unknown): boolean {
    const id = this.#permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    const subject = this.#subject
    if (subject === null) return false
    if (isSure(subject, id)) return true
    return this.engine.decide(subject, id, this.#context(resource, undefined)).allowed
  }

  async authorize(permission: Permission, resource?: unknown): Promise<void> {
    if (!this.engine.permissionIds.has(permission)) {
      throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    }
    const decision = await this.decide({ op: 'permission', permission }, [permission], resource)
    this.report([permission], decision)
    if (!decision.allowed) throw this.refusal(decision.reason)
  }

  filter(permission: Permission): Filter {
    const id = this.engine.permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    return createFilter(this.engine, this.#subject, id, this.#context(undefined, undefined))
  }

  mask<T extends object>(permission: Permission, record: T): Partial<T> {
    if (typeof record !== 'object' || record === null || Array.isArray(record)) {
      throw new PARAPET_RBAC_INVALID_ARGUMENT('record', 'must be one record, not a list of them')
    }
    return maskRecord(this.engine, permission, record, (each) => this.#allows(each, record))
  }

  /** Decides a rule; synchronous unless a fact is needed, and only then. */
  decide(
    node: RuleNode,
    permissions: readonly string[],
    resource: unknown,
  ): Decision | Promise<Decision> {
    const subject = this.#subject
    if (subject === null) return this.principal === null ? UNAUTHENTICATED : STALE
    const facts = factsFor(permissions, this.engine, subject)
    if (facts.length === 0) {
      return decideNode(node, this.engine, subject, this.#context(resource, undefined))
    }
    return this.#decideWithFacts(node, subject, facts, resource)
  }

  report(permissions: readonly string[], decision: Decision): void {
    this.#source.report(permissions, decision)
  }

  /** The error for a refusal: it tells the client nothing of the policy. */
  refusal(reason: Reason): Error & { readonly headers?: Readonly<Record<string, string>> } {
    if (reason === 'stale') return new PARAPET_RBAC_STALE()
    if (reason !== 'anonymous') return new PARAPET_RBAC_DENIED()
    const headers = { 'www-authenticate': this.#services.challenge }
    return Object.assign(new PARAPET_RBAC_UNAUTHENTICATED(), { headers })
  }

  async #decideWithFacts(
    node: RuleNode,
    subject: Subject,
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
    return decideNode(node, this.engine, subject, this.#context(resource, found))
  }

  #context(resource: unknown, facts: ReadonlyMap<string, unknown> | undefined): DecisionContext {
    if (this.#attributes === null) this.#attributes = this.#source.subject()
    return {
      principal: this.principal ?? NOBODY,
      subject: this.#attributes,
      resource,
      environment: (this.#environment ??= this.#source.environment()),
      facts,
    }
  }
}

/** Stands in a context that nothing is decided with. */
const NOBODY: Principal = Object.freeze({ id: '', roles: [] })
