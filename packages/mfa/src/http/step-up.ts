/** Step-up of requests: compiles the rules of routes and refuses requests that do not meet them. */
import {
  compileRouteRule,
  missedRoute,
  type Principal,
  type RouteRules,
  type SecurityEvents,
  type usePrincipal,
} from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { readDeviceCookie } from '../devices/device-cookie.ts'
import {
  PARAPET_MFA_ENROLMENT_REQUIRED,
  PARAPET_MFA_LOGIN_REQUIRED,
  PARAPET_MFA_STEP_UP_REQUIRED,
} from '../errors.ts'
import type { DecisionHook, DemandedSince, TrustLogin } from '../options.ts'
import { decideStepUp, type StepUpContext } from '../step-up/decide-step-up.ts'
import {
  anyFactor,
  compileRequirement,
  compileRoleRules,
  compileRule,
  joinRules,
  type CompiledRule,
  type RoleRequirement,
} from '../step-up/rules.ts'
import { acrOf, wwwAuthenticate } from '../step-up/www-authenticate.ts'
import { addGuard } from './guard-hook.ts'
import { createSessionGuard, type RequireSession } from './session-guard.ts'
import { createTrustedLogin } from './trusted-login.ts'

/** What step-up needs. */
export interface StepUpParts extends StepUpContext {
  readonly securityEvents: SecurityEvents
  readonly principalOf: ReturnType<typeof usePrincipal>
  readonly roles: Readonly<Record<string, RoleRequirement>>
  readonly trustLogin: TrustLogin | undefined
  readonly demandedSince: DemandedSince | undefined
  readonly hook: DecisionHook
}

/** A remembered device does not lift a suspicion: it may be the attacker's. */
const newFactor = compileRequirement({ maxAgeSeconds: 1 }, null)

/** Checks requests against step-up rules. */
export class StepUp {
  readonly #parts: StepUpParts
  readonly #routeRules: RouteRules<CompiledRule | null>
  readonly #roleRules: ReadonlyMap<string, CompiledRule>
  readonly #loginProofOf: ReturnType<typeof createTrustedLogin>
  readonly #requireSession: RequireSession

  /** Adds the hooks to the app. Routes that are declared afterwards are checked. */
  constructor(app: FastifyInstance, parts: StepUpParts) {
    this.#parts = parts
    this.#roleRules = compileRoleRules(parts.roles)
    this.#loginProofOf = createTrustedLogin(parts.trustLogin)
    this.#requireSession = createSessionGuard(app.log)
    this.#routeRules = compileRouteRule<CompiledRule | null>(app, {
      plugin: '@parapet/mfa',
      key: 'mfa',
      compile: ({ raw, name }) => (raw === undefined ? undefined : compileRule(raw, name)),
    })
    addGuard(app, parts.hook, (request, reply, done) => this.#check(request, reply, done))
  }

  /** Combines a rule with those of the caller's roles and with a demand: the strictest in every part. */
  withRoles(request: FastifyRequest, rule: CompiledRule): CompiledRule
  withRoles(request: FastifyRequest, rule: CompiledRule | undefined): CompiledRule | null
  withRoles(request: FastifyRequest, rule: CompiledRule | undefined): CompiledRule | null {
    const { principalOf, demandedSince, factors } = this.#parts
    if (this.#roleRules.size === 0 && demandedSince === undefined) return rule ?? null
    const principal = principalOf(request)
    if (principal === null) return rule ?? null
    const rules = principal.roles.flatMap((role) => this.#roleRules.get(role) ?? [])
    const since = demandedSince?.(principal, request) ?? undefined
    if (since !== undefined) {
      // A proof of the same millisecond may be from before.
      rules.push({ ...newFactor, maxAgeMs: factors.now() - since - 1 })
    }
    return joinRules(rule === undefined ? rules : [rule, ...rules])
  }

  /**
   * Refuses a request that does not meet the rule.
   *
   * @throws PARAPET_MFA_LOGIN_REQUIRED, PARAPET_MFA_ENROLMENT_REQUIRED, PARAPET_MFA_STEP_UP_REQUIRED,
   *   PARAPET_MFA_SESSION_REQUIRED
   */
  async require(request: FastifyRequest, reply: FastifyReply, rule: CompiledRule): Promise<void> {
    const principal = this.#parts.principalOf(request)
    if (principal === null) {
      reply.header('www-authenticate', 'Bearer')
      throw new PARAPET_MFA_LOGIN_REQUIRED()
    }
    const caller = {
      principal,
      loginProof: this.#loginProofOf(principal, request),
      readDeviceCookie: () => readDeviceCookie(request.headers.cookie),
      userAgent: request.headers['user-agent'] ?? '',
    }
    const verdict = await decideStepUp(this.#parts, caller, rule)
    if (verdict.enrolmentDueAt !== null) {
      reply.header('mfa-enrolment-due', new Date(verdict.enrolmentDueAt).toUTCString())
    }
    if (verdict.result === 'unproved') {
      this.#requireSession(principal)
      this.#refuse(request, reply, verdict.rule, 'unproved')
    }
    if (verdict.result === 'unenrolled') {
      this.#emitChallenged(request, verdict.rule, 'unenrolled')
      throw new PARAPET_MFA_ENROLMENT_REQUIRED()
    }
  }

  /** Returns the session of a caller. @throws PARAPET_MFA_SESSION_REQUIRED */
  requireSession(principal: Principal): string {
    return this.#requireSession(principal)
  }

  /** Whether the login of a caller has proved two factors by itself. */
  trustsLogin(principal: Principal, request: FastifyRequest): boolean {
    return this.#loginProofOf(principal, request) !== null
  }

  /** The guard of requests. Most requests have no rule; for them it creates no promise. */
  #check(
    request: FastifyRequest,
    reply: FastifyReply,
    done: () => void,
  ): Promise<void> | undefined {
    const declared = this.#routeRules.of(request.routeOptions)
    // The route was declared before the plugin was registered, so its rule is unknown.
    if (declared === missedRoute) this.#refuse(request, reply, anyFactor, 'missed')
    const isAsked = this.#roleRules.size > 0 || this.#parts.demandedSince !== undefined
    const isFree = declared === null || (declared === undefined && !isAsked)
    const loading = isFree ? undefined : this.#parts.principalOf.load(request)
    if (loading !== undefined) {
      return loading.then(() => {
        const late = this.withRoles(request, declared ?? undefined)
        return late === null ? undefined : this.require(request, reply, late)
      })
    }
    const rule = isFree ? null : this.withRoles(request, declared)
    if (rule !== null) return this.require(request, reply, rule)
    done()
    return undefined
  }

  #refuse(
    request: FastifyRequest,
    reply: FastifyReply,
    rule: CompiledRule,
    reason: 'unproved' | 'missed',
  ): never {
    this.#emitChallenged(request, rule, reason)
    reply.header('www-authenticate', wwwAuthenticate(rule))
    throw new PARAPET_MFA_STEP_UP_REQUIRED()
  }

  #emitChallenged(
    request: FastifyRequest,
    rule: CompiledRule,
    reason: 'unproved' | 'unenrolled' | 'missed',
  ): void {
    const details = { reason, acr: acrOf(rule) }
    this.#parts.securityEvents.emit('mfa.challenged', { details }, request)
  }
}
