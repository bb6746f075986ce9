/** The decisions of one request. Each uses the policy, the grants and the time of its own moment. */
import type { Clock, Principal } from '@parapet/kit'
import type { DecisionContext, Environment, RelatedAnswers } from '../conditions/context.ts'
import {
  PARAPET_RBAC_DENIED,
  PARAPET_RBAC_INVALID_ARGUMENT,
  PARAPET_RBAC_STALE,
  PARAPET_RBAC_UNAUTHENTICATED,
  PARAPET_RBAC_UNKNOWN_PERMISSION,
} from '../errors.ts'
import type { Permission } from '../policy/policy-types.ts'
import type { RelatedPage, Relations } from '../tuples/relations.ts'
import { createFilter, foldRule, loadFilter, type Filter } from './filter.ts'
import { findFacts, type FactFinder } from './facts.ts'
import { findRelated } from './find-related.ts'
import { pageRelated } from './list-related.ts'
import { maskRecord } from './mask.ts'
import type { PolicyInForce } from './policy-in-force.ts'
import { GRANTED, type Decision, type Reason } from './reasons.ts'
import type { RequestRbac } from './request-rbac.ts'
import { isAllowed, isConditional } from './rights.ts'
import type { RouteRule, RuleNode } from './route-rule.ts'
import { decideNode, lookupsFor, type Lookups } from './rule-guard.ts'
import type { DecisionObserver } from './shadowed-decision.ts'
import { isCurrent, lookUpStanding, type Standing } from './standing.ts'

/** What the decisions of all requests share. */
export interface AccessServices {
  readonly facts: Readonly<Record<string, FactFinder>>
  /** Answers tests of relations. @default none: they are unknown */
  readonly relations?: Relations | undefined
  readonly factTimeoutMs: number
  readonly clock: Clock
  readonly challenge: string
  /** Whether `authorize` reports denials only. @default no */
  readonly isReporting?: () => boolean
  /** Returns the candidate policy that decides as well. @default none */
  readonly shadow?: () => DecisionObserver | undefined
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
    // Reading the clock for a context would double the cost of a refusal that no condition decides.
    if (!isConditional(rights, id)) return false
    return engine.decide(rights, id, this.#context(resource, undefined)).allowed
  }

  async check(permission: Permission, resource?: unknown): Promise<boolean> {
    if (!this.#policy.engine.permissionIds.has(permission)) {
      throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    }
    const node = { op: 'permission', permission } as const
    return (await this.decide(node, [permission], resource)).allowed
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
    const { relations } = this.#services
    return createFilter(engine, rights, id, this.#context(undefined, undefined), relations)
  }

  async loadFilter(permission: string): Promise<Filter> {
    const standing = this.current()
    const { engine, rights } = standing
    const id = engine.permissionIds.get(permission)
    if (id === undefined) throw new PARAPET_RBAC_UNKNOWN_PERMISSION(permission)
    const context = this.#context(undefined, undefined)
    const { relations } = this.#services
    const filter = await loadFilter(engine, rights, id, context, relations, this.#limits())
    return this.current() === standing ? filter : this.loadFilter(permission)
  }

  /** Returns ids of resources that relations alone allow; `undefined` if something else decides. */
  async listRelated(
    permission: string,
    page: { readonly after: string | undefined; readonly limit: number },
  ): Promise<RelatedPage | undefined> {
    const { engine, rights } = this.current()
    const id = engine.permissionIds.get(permission)
    if (id === undefined || rights === null) return undefined
    const context = this.#context(undefined, undefined)
    const { relations } = this.#services
    const rule = foldRule(engine, rights, id, context)
    return pageRelated(rule, context.principal.id, relations, page, this.#limits())
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
    const lookups = lookupsFor(permissions, engine, rights)
    if (lookups === null) {
      const context = this.#context(resource, undefined)
      return this.#shadow(node, permissions, context, decideNode(node, engine, rights, context))
    }
    return this.#decideWithLookups(node, permissions, lookups, resource)
  }

  report(permissions: readonly string[], decision: Decision): void {
    this.#source.report(permissions, decision)
  }

  /** Reports that roles alone allowed a rule, which `decide` has not seen. */
  reportGranted({ node, permissions }: RouteRule): void {
    this.report(permissions, GRANTED)
    if (this.#services.shadow?.() === undefined) return
    this.#shadow(node, permissions, this.#context(undefined, undefined), GRANTED)
  }

  /** Returns the error of a refusal. It reveals nothing about the policy. */
  refusal(reason: Reason): Error & { readonly headers?: Readonly<Record<string, string>> } {
    if (reason === 'stale') return new PARAPET_RBAC_STALE()
    if (reason !== 'anonymous') return new PARAPET_RBAC_DENIED()
    const headers = { 'www-authenticate': this.#services.challenge }
    return Object.assign(new PARAPET_RBAC_UNAUTHENTICATED(), { headers })
  }

  async #decideWithLookups(
    node: RuleNode,
    permissions: readonly string[],
    { facts: names, related: nodes }: Lookups,
    resource: unknown,
  ): Promise<Decision> {
    const standing = this.current()
    const { facts, relations } = this.#services
    const context = this.#context(resource, undefined)
    const { principal, environment } = context
    const [found, related] = await Promise.all([
      findFacts(
        names,
        (name) =>
          Object.hasOwn(facts, name)
            ? facts[name]!({ principal, resource, environment })
            : undefined,
        this.#limits(),
      ),
      findRelated(nodes, context, relations, this.#limits()),
    ])
    const { engine, rights } = standing
    // A role may have been revoked during the lookup.
    if (rights === null || this.current() !== standing) {
      return this.decide(node, permissions, resource)
    }
    const complete = this.#context(resource, found, related)
    return this.#shadow(node, permissions, complete, decideNode(node, engine, rights, complete))
  }

  /** Shows a decision to the candidate policy, if there is one. */
  #shadow(
    node: RuleNode,
    permissions: readonly string[],
    context: DecisionContext,
    decision: Decision,
  ): Decision {
    const observer = this.#services.shadow?.()
    if (observer !== undefined && this.principal !== null) {
      const { principal } = this
      const granted = this.#policy.grantedTo(principal.id)
      observer.observe({ principal, granted, node, permissions, context, decision })
    }
    return decision
  }

  #limits(): { readonly clock: Clock; readonly timeoutMs: number } {
    const { clock, factTimeoutMs } = this.#services
    return { clock, timeoutMs: factTimeoutMs }
  }

  /** Every context has the same members in the same order, so that conditions stay fast. */
  #context(
    resource: unknown,
    facts: ReadonlyMap<string, unknown> | undefined,
    related?: RelatedAnswers,
  ): DecisionContext {
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
      related,
    }
  }
}

/** Fills the context of a filter without a principal, which passes no row. */
const NO_PRINCIPAL: Principal = Object.freeze({ id: '', roles: [] })
